"""Polling of one Modbus endpoint: one connection, one request at a time, every device at its own interval."""

import asyncio
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from edge.clock import STEP_S, Clock, pause, signalled
from edge.drivers.modbus.line import Line
from edge.drivers.modbus.schedule import Schedule
from edge.drivers.sink import DeviceState, Sink
from edge.errors import ModbusFault
from edge.profiles.modbus.schema import Block, ModbusProfile
from edge.reading import Reading, canonical
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.modbus")
_RECONNECT_S = (0.2, 30.0)
# The device says that there is no such register: asking the same again will not help, asking for less may.
_NOT_THERE = (2, 3)
# A gateway says that the device behind it is silent; the rest of its blocks would only cost the neighbours time.
_SILENT = (10, 11)


@dataclass(kw_only=True)
class ModbusDevice:
    """A meter on the bus. `blocks` is how it is read; it learns when the meter refuses a block."""

    id: str
    unit: int
    profile: ModbusProfile
    interval_s: float
    timeout_s: float
    blocks: tuple[Block, ...] = ()
    state: DeviceState = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = self.blocks or self.profile.blocks()
        self.state = DeviceState(device=self.id, interval_ms=round(self.interval_s * 1000))


class ModbusBus:
    """The task of one endpoint: `run` polls until `stop` is set, whatever the endpoint and its devices do.

    `moving` is called at every step of the loop. With `wait_commit_s` above 0 the next poll waits that long at most
    for the commit of the last one.
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
        jitter: random.Random | None = None,
    ) -> None:
        self.line, self.devices = line, tuple(devices)
        self._sink, self._clock, self._moving = sink, clock, moving
        self._wait_commit_s = wait_commit_s
        self._jitter = jitter or random.Random()
        self._repeats = Repeats(clock=clock)

    async def run(self, stop: asyncio.Event) -> None:
        now_s = self._clock.monotonic_s()
        schedule = Schedule(
            intervals_s=[device.interval_s for device in self.devices], start_s=now_s, jitter=self._jitter
        )
        async with self.line:
            while not stop.is_set():
                self._moving()
                if not self.line.connected and not await self._connected(stop):
                    return
                index = schedule.take(self._clock.monotonic_s())
                if index is None:
                    pause_s = schedule.next_due_s - self._clock.monotonic_s()
                    await signalled(stop, min(pause_s, STEP_S))
                    continue
                device = self.devices[index]
                await self._poll(device)
                schedule.done(index, self._clock.monotonic_s(), device.state.failures_in_a_row)

    async def _connected(self, stop: asyncio.Event) -> bool:
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
            return True
        return False

    async def _poll(self, device: ModbusDevice) -> None:
        """Read all blocks of `device` and put what was read; a block that failed is absent, and shifts nothing."""
        values: dict[str, float] = {}
        blocks: list[Block] = []
        refused: list[Block] = []
        faults: list[str] = []
        arrived_us: int | None = None
        silent = False
        for position, block in enumerate(device.blocks):
            try:
                words = await self._read(device, block)
            except ModbusFault as fault:
                faults.append(f"{block}: {fault.reason}")
                blocks.append(block)
                if fault.exception_code in _NOT_THERE:
                    refused.append(block)
                silent = fault.line_lost or fault.silent or fault.exception_code in _SILENT
                if silent:
                    blocks += device.blocks[position + 1 :]
                    break
                continue
            arrived_us = self._clock.now_us()
            blocks.append(block)
            by_address = dict(enumerate(words, start=block.address))
            values |= device.profile.values(by_address, block.registers)
        # A meter that refuses everything all of a sudden is starting up; one that never answered, or answers the rest,
        # lacks a register in that block.
        if refused and (arrived_us is not None or device.state.readings == 0):
            blocks = [part for block in blocks for part in (block.halves() if block in refused else (block,))]
        device.blocks = tuple(blocks)
        failures = device.state.failures_in_a_row + 1
        await self._deliver(device, values, faults, arrived_us)
        if silent:
            # Whatever it answered before: waiting for it costs the neighbours time, so it is asked less often.
            device.state.failures_in_a_row = failures

    async def _read(self, device: ModbusDevice, block: Block) -> list[int]:
        data = await self.line.read(
            unit=device.unit,
            function=device.profile.function,
            address=block.address,
            count=block.count,
            timeout_s=device.timeout_s,
        )
        return list(struct.unpack(f">{block.count}H", data))

    async def _deliver(
        self, device: ModbusDevice, values: dict[str, float], faults: list[str], arrived_us: int | None
    ) -> None:
        state, now_us = device.state, self._clock.now_us()
        kept, impossible = canonical(values)
        faults += [f"{name}: {values[name]:g} fits no register; check the profile's word order" for name in impossible]
        for reason in faults:
            state.partly_failed(reason, now_us)
        if faults and (count := self._repeats.due(device.id)) is not None:
            _LOG.warning("device failed", device=device.id, reasons=faults, unit=device.unit, failures_not_logged=count)
        if not kept or arrived_us is None:
            state.failures_in_a_row += 1
            return
        if not faults and self._repeats.over(device.id):
            _LOG.info("device reads again", device=device.id)
        state.read(arrived_us)
        reading = Reading(device.id, arrived_us, kept, 0, state.interval_ms)
        committed = self._sink.put([reading])
        if self._wait_commit_s:
            await asyncio.wait({committed}, timeout=min(self._wait_commit_s, device.interval_s))
