"""The one place where the gateway is put together, run and ended in order."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from contract.report import Report
from edge import VERSION, kernel
from edge.buffer.limits import Limits
from edge.buffer.queue import BufferQueue
from edge.buffer.store import Store
from edge.buses import BusFactory
from edge.clock import STEP_S, Clock, either, signalled
from edge.config.models import Config
from edge.config.warnings import warnings
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.sink import DeviceState
from edge.errors import ConfigError, EdgeError
from edge.heartbeat import Heartbeats
from edge.set_aside_file import SetAsideFile
from edge.silences import Silences
from edge.status.condition import Condition
from edge.status.metrics import EdgeCollector, MetricsServer
from edge.status.report import report
from edge.status.running import Running
from edge.status.socket import StatusServer
from edge.status.status import BUFFER_FILE, SET_ASIDE_FILE
from edge.status.wear import Wear
from edge.systemd import Notifier
from edge.timekeeping import Timekeeper
from edge.uplink.uplink import Uplink
from edge.watch import Watch

if TYPE_CHECKING:
    from edge.drivers.mqtt.broker import BrokerClient

_LOG = structlog.get_logger("edge.app")
# The longest that a healthy loop waits for somebody else is one attempt of the uplink.
_SHORTEST_STUCK_S, _STUCK_MARGIN_S = 60.0, 30.0
# Live readings are those since the last batch, and some more where the disk or the network was slow.
_LIVE_INTERVALS, _SHORTEST_LIVE_S = 3, 10.0


class Unfinished(EdgeError):
    """The daemon had to stop before everything in memory was on disk."""


class Gateway:
    """The parts of a running gateway. `assemble` makes them, `serve` runs them."""

    def __init__(self, *, config: Config, clock: Clock, notifier: Notifier) -> None:
        self._config, self._clock, self._notifier = config, clock, notifier
        self._beats = Heartbeats(clock=clock)
        self._started_us = clock.now_us()
        self._stuck_after_s = max(_SHORTEST_STUCK_S, config.uplink.timeout_s + _STUCK_MARGIN_S)
        self._timekeeper = Timekeeper(clock=clock, boot_id=kernel.boot_id(), synchronized=kernel.synchronized)
        self._silences = Silences(clock=clock, timekeeper=self._timekeeper)
        self._buses: list[ModbusBus] = []
        self._brokers: list[BrokerClient] = []

    async def assemble(self, stack: AsyncExitStack) -> None:
        config, clock = self._config, self._clock
        for warning in warnings(config):
            _LOG.warning("configuration", warning=warning)
        self._store = self._make_store()
        stack.push_async_callback(self._store.close)
        self._queue = BufferQueue(
            store=self._store,
            clock=clock,
            commit_interval_s=config.buffer.commit_interval_s,
            commit_readings=config.buffer.commit_readings,
            memory_readings=config.buffer.memory_readings,
            epoch_offset_us=self._timekeeper.epoch_offset_us,
            moving=self._beats.loop("buffer"),
        )
        self._condition = Condition(
            config=config,
            clock=clock,
            timekeeper=self._timekeeper,
            wear=Wear(clock=clock),
            queue=self._queue,
            store=self._store,
        )
        self._uplink = await stack.enter_async_context(
            Uplink(
                queue=self._queue,
                url=config.uplink.url,
                key_file=Path(config.uplink.key_file),
                clock=clock,
                timekeeper=self._timekeeper,
                report=self._report,
                beats=self._beats,
                send_interval_s=config.uplink.send_interval_s,
                timeout_s=config.uplink.timeout_s,
                max_readings=config.uplink.max_readings,
                keep_delivered_s=config.uplink.keep_delivered_s,
            )
        )
        self._watch = Watch(
            running=self._running,
            changed=self._uplink.report_soon,
            condition=self._condition,
            queue=self._queue,
            silences=self._silences,
            beats=self._beats,
            notifier=self._notifier,
            clock=clock,
            data_dir=config.data_dir,
            stuck_after_s=self._stuck_after_s,
        )
        make = BusFactory(
            sink=self._queue,
            clock=clock,
            beats=self._beats,
            wait_commit=not config.buffer.commit_interval_s,
            newest_us=lambda: self._store.newest_us,
            set_aside=SetAsideFile(config.data_dir / SET_ASIDE_FILE),
            keep_frames=config.buffer.keep_frames_bytes > 0,
        )
        self._buses = [make.modbus(bus, f"modbus[{n}]") for n, bus in enumerate(config.modbus)]
        collector = EdgeCollector(running=self._running, clock=clock)
        try:
            stack.enter_context(MetricsServer(port=config.metrics.port, collector=collector))
        except OSError as error:
            raise ConfigError(
                [f"metrics.port: {config.metrics.port}: {error.strerror}; choose another, or 0"]
            ) from error
        await stack.enter_async_context(StatusServer(data_dir=config.data_dir, running=self._running))
        # After all that can be refused: a client that connects takes the session from another of its name.
        if config.mqtt:
            await self._assemble_brokers(stack)
        # Left first: whatever ends the daemon, what is in memory goes to disk before the brokers' sessions are left.
        stack.push_async_callback(self._last_commit)

    def _make_store(self) -> Store:
        buffer, uplink = self._config.buffer, self._config.uplink
        limits = Limits(
            max_bytes=buffer.max_bytes, min_free_bytes=buffer.min_free_bytes, frames_bytes=buffer.keep_frames_bytes
        )
        return Store(
            path=self._config.data_dir / BUFFER_FILE,
            clock=self._clock,
            limits=limits,
            boot_id=self._timekeeper.boot_id,
            truth=self._timekeeper.true_offset_us,
            mount=None if buffer.mount is None else Path(buffer.mount),
            live_span_us=round(max(_SHORTEST_LIVE_S, _LIVE_INTERVALS * uplink.send_interval_s) * 1e6),
            live_readings=uplink.max_readings,
        )

    async def _assemble_brokers(self, stack: AsyncExitStack) -> None:
        # A gateway without meters on MQTT is smaller by the client and all dialects.
        from edge import brokers
        from edge.drivers.mqtt.broker import together

        keep_frames = self._config.buffer.keep_frames_bytes > 0
        self._brokers = [
            brokers.client(
                broker, f"mqtt[{n}]", sink=self._queue, clock=self._clock, beats=self._beats, keep_frames=keep_frames
            )
            for n, broker in enumerate(self._config.mqtt)
        ]
        await stack.enter_async_context(together(self._brokers))

    async def serve(self, stop: asyncio.Event) -> None:
        """Run everything until `stop`, then end it in order: drivers, buffer, uplink."""
        drained, done = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            drivers = {
                *(group.create_task(bus.run(stop), name=f"modbus {bus.line.endpoint}") for bus in self._buses),
                *(group.create_task(self._take(bus, stop), name=f"mqtt {bus.state.broker}") for bus in self._brokers),
            }
            committing = group.create_task(self._queue.run(drained), name="buffer")
            sending = group.create_task(self._uplink.run(stop), name="uplink")
            group.create_task(self._watch.look(done), name="status")
            group.create_task(self._watch.guard(done), name="watchdog")
            self._notifier.ready()
            _LOG.info("running", gateway=self._config.gateway.name, version=VERSION)
            await stop.wait()
            self._notifier.stopping()
            deadline_s = self._clock.monotonic_s() + self._config.gateway.stop_timeout_s
            await self._end(drivers, deadline_s)
            for note in self._silences.end(self._devices()):
                self._queue.note(note)
            drained.set()
            await self._end({committing}, deadline_s)
            while not await self._queue.commit() and self._clock.monotonic_s() < deadline_s:
                await signalled(done, 0.2)
            await self._end({sending}, deadline_s)
            await self._uplink.send_rest(deadline_s)
            done.set()
        if self._queue.state.waiting:
            raise Unfinished(
                f"{self._queue.state.waiting} readings could not be written: {self._queue.state.unwritable}"
            )
        backlog = self._condition.backlog
        _LOG.info("stopped", backlog=None if backlog is None else backlog.readings)

    async def _take(self, broker: "BrokerClient", stop: asyncio.Event) -> None:
        """Take messages once the buffer is open: only then it is known which of them were taken before."""
        beat = self._beats.loop(f"mqtt {broker.state.broker}")
        while not stop.is_set() and not self._queue.opened.is_set():
            beat()
            await either(stop, self._queue.opened, STEP_S)
        if not stop.is_set():
            await broker.run(stop)

    async def _end(self, tasks: set[asyncio.Task[None]], deadline_s: float) -> None:
        """Wait for `tasks`, and cancel what is left at the deadline, which leaves no work half done."""
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=max(0.0, deadline_s - self._clock.monotonic_s()))
            for task in late:
                _LOG.warning("cancelled at the deadline", task=task.get_name())
                task.cancel()
            await asyncio.wait(tasks)

    async def _last_commit(self) -> None:
        await asyncio.shield(self._queue.commit())

    def _devices(self) -> list[DeviceState]:
        devices = [device.state for bus in self._buses for device in bus.devices]
        return devices + [state for bus in self._brokers for device in bus.devices for state in device.states.values()]

    def _running(self) -> Running:
        condition = self._condition
        return Running(
            pid=os.getpid(),
            version=VERSION,
            started_us=self._started_us,
            written_us=self._clock.now_us(),
            devices=self._devices(),
            brokers=[bus.state for bus in self._brokers],
            buffer=self._queue.state,
            uplink=self._uplink.state,
            stuck=self._beats.stuck(self._stuck_after_s),
            backlog=condition.backlog,
            disk=condition.disk,
            clock=condition.clock,
            time_known=condition.time_known,
            given_up=condition.given_up,
            lost_notes=condition.lost_notes,
            written_bytes=condition.written_bytes,
        )

    async def _report(self) -> Report:
        await self._condition.look()
        return report(
            self._running(),
            boot_id=self._timekeeper.boot_id,
            stream=self._store.stream,
            next_seq=self._store.next_seq,
            loss_window_s=self._config.buffer.commit_interval_s,
        )
