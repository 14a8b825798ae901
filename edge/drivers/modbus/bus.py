"""Polling of one Modbus endpoint: one connection, one request at a time, every device at its own interval."""

import asyncio
import math
import random
from collections.abc import Callable, Sequence

import structlog

from edge.clock import STEP_S, Clock, Waiting, pause
from edge.drivers.modbus.device import ModbusDevice, Polled
from edge.drivers.modbus.line import Line
from edge.drivers.modbus.schedule import Schedule
from edge.drivers.sink import Sink
from edge.errors import ModbusFault
from edge.frames import BlockReply, ModbusFrame, frames
from edge.reading import Reading
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.modbus")
_JITTER = random.Random()
_RECONNECT_S = (0.2, 30.0)
# Buses do not begin at the same moment, or their polls would meet at each interval.
_LONGEST_START_S = 1.0
# But a few do, and wake the processor once: a poll beside others costs less than half of one that comes alone.
_START_STEP_S = 0.05
# After so many failures in a row it stays while it is found out which registers a device is silent on: a few polls,
# each with a time-out, that must not take an hour.
_FAILURES_NARROWING = 2


class ModbusBus:
    """The task of one endpoint: `run` polls until `stop` is set, whatever the endpoint and its devices do.

    `moving` is called at every step of the loop. With `wait_commit_s` above 0 the next poll waits that long at most
    for the commit of the last one. With `keep_frames` the replies go with the reading as they came.
    """

    def __init__(
        self,
        *,
        line: Line,
        devices: Sequence[ModbusDevice],
        sink: Sink,
        clock: Clock,
        moving: Callable[[], None] = lambda: None,
        wait_commit_s: float = 0.0,
        keep_frames: bool = False,
        jitter: random.Random | None = None,
    ) -> None:
        self.line, self.devices = line, tuple(devices)
        self._sink, self._clock, self._moving = sink, clock, moving
        self._wait_commit_s, self._keep_frames = wait_commit_s, keep_frames
        self._jitter = jitter or _JITTER
        self._repeats = Repeats(clock=clock)

    async def run(self, stop: asyncio.Event) -> None:
        intervals_s = [device.interval_s for device in self.devices]
        start_s = self._clock.monotonic_s() + self._jitter.uniform(0, min(_LONGEST_START_S, *intervals_s))
        start_s = math.ceil(start_s / _START_STEP_S) * _START_STEP_S
        schedule = Schedule(intervals_s=intervals_s, start_s=start_s, jitter=self._jitter)
        clock = self._clock
        async with self.line as line, Waiting(stop) as waiting:
            while not stop.is_set():
                self._moving()
                now_s = clock.monotonic_s()
                index = schedule.take(now_s)
                if index is None:
                    await waiting.wait(min(schedule.next_due_s - now_s, STEP_S))
                    continue
                # Only now: an endpoint that hangs up on whoever asks nothing would be called again and again.
                if not line.connected and not await self._connected(stop, schedule):
                    return
                device = self.devices[index]
                committed = self._take(device, await device.poll(line, clock, self._moving))
                if committed is not None and self._wait_commit_s:
                    await asyncio.wait({committed}, timeout=min(self._wait_commit_s, device.interval_s))
                schedule.done(index, clock.monotonic_s(), device.state.failures_in_a_row)
                if schedule.overruns[index] != device.state.overruns:
                    device.state.left_out(schedule.overruns[index], clock.now_us())

    async def _connected(self, stop: asyncio.Event, schedule: Schedule) -> bool:
        """Connect, however long it takes; False when stopped before."""
        attempt = 0
        while not stop.is_set():
            self._moving()
            try:
                await self.line.connect()
            except ModbusFault as fault:
                now_us = self._clock.now_us()
                for device in self.devices:
                    device.state.partly_failed(fault.reason, now_us)
                if (count := self._repeats.due(self.line.endpoint)) is not None:
                    _LOG.warning(
                        "endpoint unreachable",
                        endpoint=self.line.endpoint,
                        reason=fault.reason,
                        attempts_not_logged=count,
                    )
                shortest_s, longest_s = _RECONNECT_S
                attempt = min(attempt + 1, 16)
                pause_s = shortest_s + self._jitter.uniform(0, min(longest_s, shortest_s * 2.0**attempt))
                await pause(stop, pause_s, self._moving)
                continue
            if self._repeats.over(self.line.endpoint):
                _LOG.info("endpoint reachable again", endpoint=self.line.endpoint)
                schedule.resume(self._clock.monotonic_s())
            return True
        return False

    def _take(self, device: ModbusDevice, polled: Polled) -> asyncio.Future[None] | None:
        """Put what was read, and note what was not. The future is the sink's."""
        state = device.state
        if polled.faults:
            self._failed(device, polled)
        if not polled.values or polled.arrived_us is None:
            state.failures_in_a_row += 1
            return None
        if not polled.faults and state.last_error_us is not None and self._repeats.over(device.id):
            _LOG.info("device reads again", device=device.id)
        failures = state.failures_in_a_row + 1
        state.read(polled.arrived_us)
        if polled.silent:
            # Whatever it answered before: waiting for it costs the neighbours time, so it is asked less often.
            state.failures_in_a_row = min(failures, _FAILURES_NARROWING) if polled.narrows else failures
        readings = (Reading(device.id, polled.arrived_us, polled.values, 0, state.interval_ms),)
        kept = frames(readings, _frame(polled)) if self._keep_frames else ()
        return self._sink.put(readings, offset_us=polled.offset_us, frames=kept)

    def _failed(self, device: ModbusDevice, polled: Polled) -> None:
        now_us = self._clock.now_us()
        for reason in polled.faults:
            device.state.partly_failed(reason, now_us)
        if (count := self._repeats.due(device.id)) is not None:
            _LOG.warning(
                "device failed", device=device.id, reasons=polled.faults, unit=device.unit, failures_not_logged=count
            )


def _frame(polled: Polled) -> ModbusFrame:
    pairs = zip(polled.blocks, polled.replies, strict=True)
    return ModbusFrame([BlockReply(b.function, b.address, reply.hex()) for b, reply in pairs if reply is not None])
