"""The one place where the gateway is put together, started, watched and stopped in order."""

import asyncio
import contextlib
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge import VERSION
from edge.buffer.lock import BufferLock
from edge.buffer.queue import BufferQueue
from edge.buffer.rows import Backlog
from edge.buffer.store import Store
from edge.buses import BusFactory
from edge.clock import Clock, signalled
from edge.config.models import Config
from edge.config.warnings import warnings
from edge.drivers.modbus.bus import ModbusBus
from edge.errors import BufferUnwritable, ConfigError, DataDirUnusable, EdgeError
from edge.heartbeat import Heartbeats
from edge.metrics import EdgeCollector, MetricsServer
from edge.set_aside_file import SetAsideFile
from edge.status import BUFFER_FILE, LOCK_FILE, SET_ASIDE_FILE, Running, write_soon
from edge.systemd import Notifier
from edge.uplink import Uplink

if TYPE_CHECKING:
    from edge.drivers.mqtt.broker import BrokerClient

_LOG = structlog.get_logger("edge.app")
_LOOK_S = 1.0
# Replacing a file costs a flash card a few pages each time; the metrics are always fresh.
_STATUS_INTERVAL_S = 10.0
_SHORTEST_STUCK_S = 60.0


class Unfinished(EdgeError):
    """The daemon had to stop before everything in memory was on disk."""


def main(config: Config) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises EdgeError when it cannot start, or could not stop cleanly."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_until_signal(config))


async def _until_signal(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await run(config, stop=stop, notifier=Notifier())
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run(config: Config, *, stop: asyncio.Event, notifier: Notifier, clock: Clock | None = None) -> None:
    """Poll, buffer and sync until `stop`."""
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirUnusable(str(config.data_dir), str(error.strerror)) from error
    async with AsyncExitStack() as stack:
        stack.enter_context(BufferLock(config.data_dir / LOCK_FILE))
        gateway = Gateway(config=config, clock=clock or Clock(), notifier=notifier)
        await gateway.assemble(stack)
        await gateway.serve(stop)


class Gateway:
    """The parts of a running gateway. `assemble` opens them, `serve` runs them."""

    def __init__(self, *, config: Config, clock: Clock, notifier: Notifier) -> None:
        self._config, self._clock, self._notifier = config, clock, notifier
        self._beats = Heartbeats(clock=clock)
        self._started_us = clock.now_us()
        self._backlog = Backlog(0, 0, None)
        self._buses: list[ModbusBus] = []
        self._brokers: list[BrokerClient] = []

    async def assemble(self, stack: AsyncExitStack) -> None:
        config, clock = self._config, self._clock
        for warning in warnings(config):
            _LOG.warning("configuration", warning=warning)
        self._store = await Store.open(config.data_dir / BUFFER_FILE, clock=clock, max_bytes=config.buffer.max_bytes)
        stack.push_async_callback(self._store.close)
        self._queue = BufferQueue(
            store=self._store,
            clock=clock,
            commit_interval_s=config.buffer.commit_interval_s,
            commit_readings=config.buffer.commit_readings,
            memory_readings=config.buffer.memory_readings,
            committed_before=await self._store.deliveries(),
            moving=self._beats.loop("buffer"),
        )
        self._uplink = await stack.enter_async_context(
            Uplink(
                store=self._store,
                url=config.uplink.url,
                key_file=Path(config.uplink.key_file),
                clock=clock,
                news=self._queue.news,
                send_interval_s=config.uplink.send_interval_s,
                timeout_s=config.uplink.timeout_s,
                max_readings=config.uplink.max_readings,
                moving=self._beats.loop("uplink"),
            )
        )
        make = BusFactory(
            sink=self._queue,
            clock=clock,
            beats=self._beats,
            wait_commit=not config.buffer.commit_interval_s,
            set_aside=SetAsideFile(config.data_dir / SET_ASIDE_FILE),
        )
        self._buses = [make.modbus(bus, f"modbus[{n}]") for n, bus in enumerate(config.modbus)]
        collector = EdgeCollector(running=self._running, backlog=lambda: self._backlog, clock=clock)
        try:
            stack.enter_context(MetricsServer(port=config.metrics.port, collector=collector))
        except OSError as error:
            raise ConfigError(
                [f"metrics.port: {config.metrics.port}: {error.strerror}; choose another, or 0"]
            ) from error
        # After all that can be refused: a client that connects takes the session from another of its name.
        if config.mqtt:
            await self._assemble_brokers(stack)
        # Left first: whatever ends the daemon, what is in memory goes to disk before the brokers' sessions are left.
        stack.push_async_callback(self._last_commit)

    async def _assemble_brokers(self, stack: AsyncExitStack) -> None:
        # A gateway without meters on MQTT is smaller by the client and all dialects.
        from edge import brokers
        from edge.drivers.mqtt.broker import together

        self._brokers = [
            brokers.client(broker, f"mqtt[{n}]", sink=self._queue, clock=self._clock, beats=self._beats)
            for n, broker in enumerate(self._config.mqtt)
        ]
        await stack.enter_async_context(together(self._brokers))

    async def serve(self, stop: asyncio.Event) -> None:
        """Run everything until `stop`, then end it in order: drivers, buffer, uplink."""
        drained, done = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            drivers = {
                *(group.create_task(bus.run(stop), name=f"modbus {bus.line.endpoint}") for bus in self._buses),
                *(group.create_task(bus.run(stop), name=f"mqtt {bus.state.broker}") for bus in self._brokers),
            }
            committing = group.create_task(self._queue.run(drained), name="buffer")
            sending = group.create_task(self._uplink.run(stop), name="uplink")
            group.create_task(self._report(done), name="status")
            group.create_task(self._watchdog(done), name="watchdog")
            self._notifier.ready()
            _LOG.info("running", gateway=self._config.gateway.name, version=VERSION, stream=self._store.stream)
            await stop.wait()
            self._notifier.stopping()
            deadline_s = self._clock.monotonic_s() + self._config.gateway.stop_timeout_s
            await self._end(drivers, deadline_s)
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
        _LOG.info("stopped", backlog=self._backlog.readings)

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

    def _running(self) -> Running:
        devices = [device.state for bus in self._buses for device in bus.devices]
        devices += [state for bus in self._brokers for device in bus.devices for state in device.states.values()]
        return Running(
            pid=os.getpid(),
            version=VERSION,
            started_us=self._started_us,
            written_us=self._clock.now_us(),
            devices=devices,
            brokers=[bus.state for bus in self._brokers],
            buffer=self._queue.state,
            uplink=self._uplink.state,
            stuck=self._beats.stuck(self._stuck_after_s),
        )

    async def _report(self, done: asyncio.Event) -> None:
        """Write the status file now and then, as soon as some trouble begins or ends, and once more at the end."""
        last, written_s, told = False, float("-inf"), None
        while not last:
            last = await signalled(done, _LOOK_S)
            with contextlib.suppress(BufferUnwritable):
                self._backlog = await self._store.backlog()
            running = self._running()
            self._notifier.status(
                f"{len(running.devices)} meters, {running.buffer.committed} readings buffered, "
                f"{running.uplink.readings} synced, backlog {self._backlog.readings}"
            )
            trouble = running.trouble()
            if last or trouble != told or self._clock.monotonic_s() - written_s >= _STATUS_INTERVAL_S:
                written_s, told = self._clock.monotonic_s(), trouble
                # A full disk must not end the metering that it keeps from being stored.
                with contextlib.suppress(OSError):
                    await write_soon(running, self._config.data_dir)

    @property
    def _stuck_after_s(self) -> float:
        # The longest that a healthy loop waits for somebody else: one attempt of the uplink.
        return max(_SHORTEST_STUCK_S, self._config.uplink.timeout_s + 30.0)

    async def _watchdog(self, done: asyncio.Event) -> None:
        """Tell the service manager that all loops move, and nothing when one does not: then it restarts us."""
        pause_s = min((self._notifier.watchdog_s or 30.0) / 3, 10.0)
        while not await signalled(done, pause_s):
            if stuck := self._beats.stuck(self._stuck_after_s):
                _LOG.error("loops do not move", loops=stuck)
            else:
                self._notifier.alive()
