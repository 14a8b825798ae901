"""Meters that say nothing, rather than no, about a register that they lack: on TCP and on RTU, among neighbours."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import Line, serial_line, tcp_line
from edge.profiles import catalog
from tests.integration.edge.peers import Kept, ModbusMeters, eventually
from tests.integration.edge.rtu import RtuMeters, floats

PROFILE = catalog.modbus("eastron-sdm630")


@asynccontextmanager
async def _line(kind: str, missing: set[int]) -> AsyncIterator[Line]:
    """To units 1 to 3, of which 2 does not answer what touches a `missing` register."""
    if kind == "tcp":
        with ModbusMeters([1, 2, 3]) as meters:
            for unit in (1, 2, 3):
                for row in PROFILE.registers:
                    meters.set_float(unit, row.address, 2.0)
            meters.ignore[2] = missing
            yield tcp_line(host="127.0.0.1", port=meters.port, connect_timeout_s=1.0)
        return
    async with RtuMeters(
        lambda unit, function, address, count: (
            []
            if unit == 2 and missing & set(range(address, address + count))
            else [(0.0, floats(unit, function, count, 2.0))]
        )
    ) as meters:
        yield serial_line(path=meters.path, baud_rate=115_200)


def _meter(unit: int, *, interval_s: float, timeout_s: float) -> ModbusDevice:
    return ModbusDevice(id=f"meter-{unit}", unit=unit, profile=PROFILE, interval_s=interval_s, timeout_s=timeout_s)


@pytest.mark.long
@pytest.mark.parametrize("address", [0x0008, 0x0048], ids=["in the first block", "in the last block"])
@pytest.mark.parametrize("kind", ["tcp", "rtu"])
async def test_a_register_that_a_meter_is_silent_on_costs_itself_and_no_neighbours_interval(
    kind: str, address: int
) -> None:
    """E1, E2: the blocks behind it are read on, and at last it is set aside."""
    first, lacking, last = devices = [
        _meter(1, interval_s=1.0, timeout_s=1.0),
        _meter(2, interval_s=0.02, timeout_s=0.1),
        _meter(3, interval_s=1.0, timeout_s=1.0),
    ]
    kept, stop = Kept(), asyncio.Event()
    async with _line(kind, {address, address + 1}) as line:
        bus = ModbusBus(line=line, devices=devices, sink=kept, clock=Clock(), jitter=random.Random(1))
        async with asyncio.TaskGroup() as group:
            group.create_task(bus.run(stop))
            try:
                await eventually(lambda: lacking.state.set_aside == (f"4:{address:#06x}",), timeout_s=20)
                seen = len(kept.of("meter-2"))
                await eventually(lambda: len(kept.of("meter-2")) >= seen + 10)
                await eventually(lambda: bool(kept.of("meter-1") and kept.of("meter-3")))
            finally:
                stop.set()
    lost = next(row.quantity for row in PROFILE.registers if row.address == address)
    readings = [reading.values for reading in kept.of("meter-2")]
    # While it was found out, whatever lies in the other block was there.
    assert sum(len(values) >= 5 for values in readings) >= 9
    assert not any(lost in values for values in readings)
    assert len(readings[-1]) == 17
    assert lacking.state.failures_in_a_row == 0
    assert (first.state.overruns, first.state.errors) == (0, 0)
    assert (last.state.overruns, last.state.errors) == (0, 0)


@pytest.mark.parametrize("kind", ["tcp", "rtu"])
async def test_a_meter_that_is_silent_altogether_is_asked_ever_less_often_and_loses_nothing(kind: str) -> None:
    """E1: which of its blocks it is asked for makes no difference."""
    device, kept, stop = _meter(2, interval_s=0.02, timeout_s=0.05), Kept(), asyncio.Event()
    async with _line(kind, set(range(0x0100))) as line:
        bus = ModbusBus(line=line, devices=[device], sink=kept, clock=Clock(), jitter=random.Random(1))
        async with asyncio.TaskGroup() as group:
            group.create_task(bus.run(stop))
            try:
                await eventually(lambda: device.state.failures_in_a_row >= 6)
            finally:
                stop.set()
    assert device.state.errors == device.state.failures_in_a_row
    assert (device.blocks, device.state.set_aside) == (PROFILE.blocks(), ())
