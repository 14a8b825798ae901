"""What a bus does with its time: connections when they are needed, polls left out, life signs, slow devices."""

import asyncio
import random
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from edge.clock import Clock
from edge.drivers.modbus import bus as bus_module
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import tcp_line
from edge.profiles import catalog
from tests.integration.edge.peers import Kept, ModbusMeters, eventually, free_port

PROFILE = catalog.modbus("eastron-sdm630")


def _meter(unit: int, *, interval_s: float, timeout_s: float = 2.0) -> ModbusDevice:
    return ModbusDevice(id=f"meter-{unit}", unit=unit, profile=PROFILE, interval_s=interval_s, timeout_s=timeout_s)


@asynccontextmanager
async def _polling(
    port: int, devices: Sequence[ModbusDevice], moving: Callable[[], None] = lambda: None
) -> AsyncIterator[Kept]:
    kept, stop = Kept(), asyncio.Event()
    line = tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0)
    bus = ModbusBus(line=line, devices=devices, sink=kept, clock=Clock(), moving=moving, jitter=random.Random(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        try:
            yield kept
        finally:
            stop.set()


async def test_an_endpoint_that_hangs_up_on_idle_clients_is_called_once_for_each_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E10"""
    accepted = requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted, requests
        accepted += 1
        try:
            while True:
                async with asyncio.timeout(0.05):
                    transaction, _, _, unit, function, _, count = struct.unpack(
                        ">HHHBBHH", await reader.readexactly(12)
                    )
                requests += 1
                writer.write(struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count))
                writer.write(bytes(2 * count))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    monkeypatch.setattr(bus_module, "STEP_S", 0.1)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, _polling(server.sockets[0].getsockname()[1], [_meter(1, interval_s=0.8)]) as kept:
        await eventually(lambda: len(kept.readings) >= 3)
    assert requests >= 6
    assert accepted <= len(kept.readings) + 1


async def test_polls_that_a_slow_meter_takes_from_itself_and_others_are_counted() -> None:
    """E1: the bus is busy for 0.3 s of every poll, so that of six slots five are left out."""
    with ModbusMeters([1]) as meters:
        meters.delay_s[1] = 0.15
        device = _meter(1, interval_s=0.05)
        async with _polling(meters.port, [device]) as kept:
            await eventually(lambda: len(kept.readings) >= 4)
            polls, overruns = len(kept.readings), device.state.overruns
    assert overruns >= 5 * (polls - 1)
    assert device.state.errors == 0


async def test_slots_that_pass_while_the_endpoint_is_away_are_no_overruns() -> None:
    port = free_port()
    device = _meter(1, interval_s=0.2)
    async with _polling(port, [device]) as kept:
        await eventually(lambda: device.state.errors >= 3)
        with ModbusMeters([1], port):
            await eventually(lambda: len(kept.readings) >= 1)
            assert device.state.overruns <= 1
    assert device.state.failures_in_a_row == 0


async def test_a_meter_that_takes_long_leaves_its_neighbours_their_turns() -> None:
    """E1: whoever has been due longest is next, and not who is due most often."""
    with ModbusMeters([1, 2, 3]) as meters:
        meters.delay_s[1] = 0.1
        devices = [_meter(1, interval_s=0.05), _meter(2, interval_s=0.5), _meter(3, interval_s=0.5)]
        async with _polling(meters.port, devices) as kept:
            await eventually(lambda: len(kept.of("meter-2")) >= 2)
            await asyncio.sleep(2.0)
    for unit in (2, 3):
        times_us = [reading.time_us for reading in kept.of(f"meter-{unit}")]
        assert (times_us[-1] - times_us[0]) / (len(times_us) - 1) < 600_000
        assert len(times_us) >= 5
    assert len(kept.of("meter-1")) > 6


async def test_a_meter_whose_poll_takes_long_shows_at_each_request_that_the_bus_moves() -> None:
    """E11: else the service manager takes the loop for stuck, and restarts the gateway for one slow meter."""
    moved_s: list[float] = []
    with ModbusMeters([1]) as meters:
        meters.delay_s[1] = 0.3
        async with _polling(meters.port, [_meter(1, interval_s=0.1)], lambda: moved_s.append(time.monotonic())) as kept:
            await eventually(lambda: len(kept.readings) >= 2)
    in_poll = [later - earlier for earlier, later in pairwise(moved_s) if later - earlier > 0.25]
    assert len(in_poll) >= 4


async def test_a_meter_that_has_no_value_at_all_says_so() -> None:
    """E6: it is no reading, and no silence either."""
    with ModbusMeters([1]) as meters:
        for row in PROFILE.registers:
            meters.set_float(1, row.address, float("nan"))
        device = _meter(1, interval_s=0.05)
        async with _polling(meters.port, [device]) as kept:
            await eventually(lambda: device.state.failures_in_a_row >= 2)
    assert not kept.readings
    assert "every register says that there is no value" in (device.state.last_error or "")
