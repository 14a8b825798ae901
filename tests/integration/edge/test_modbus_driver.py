"""The Modbus driver against pymodbus's own server, over real TCP."""

import asyncio
import random
import struct
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import tcp_line
from edge.drivers.modbus.set_aside import NotKept, SetAside
from edge.errors import ModbusFault
from edge.profiles import catalog
from edge.profiles.modbus.probe import Read
from edge.profiles.modbus.schema import ModbusProfile
from edge.set_aside_file import SetAsideFile
from tests.integration.edge.clocks import NOON_US, WallClock
from tests.integration.edge.peers import Kept, ModbusMeters, eventually, free_port


def _meter(
    unit: int,
    *,
    interval_s: float = 0.05,
    timeout_s: float = 0.3,
    newest_us: int | None = None,
    set_aside: SetAside | None = None,
) -> ModbusDevice:
    return ModbusDevice(
        id=f"meter-{unit}",
        unit=unit,
        profile=catalog.modbus("eastron-sdm630"),
        interval_s=interval_s,
        timeout_s=timeout_s,
        newest_us=lambda: newest_us,
        set_aside=set_aside,
    )


@asynccontextmanager
async def _polling(port: int, devices: list[ModbusDevice], clock: Clock | None = None) -> AsyncIterator[Kept]:
    kept, stop = Kept(), asyncio.Event()
    line = tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0)
    bus = ModbusBus(line=line, devices=devices, sink=kept, clock=clock or Clock(), jitter=random.Random(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        try:
            yield kept
        finally:
            stop.set()


async def test_a_reading_is_stamped_in_whole_milliseconds() -> None:
    """E12, E28: finer is only jitter, which each reading would carry to disk and over the wire."""
    with ModbusMeters([1]) as meters:
        async with _polling(meters.port, [_meter(1)]) as kept:
            await eventually(lambda: len(kept.readings) >= 5)
    assert {reading.time_us % 1000 for reading in kept.readings} == {0}


def _at(now_us: int) -> Clock:
    return Clock(now_us=lambda: now_us, boottime_us=lambda: 0)


@pytest.mark.parametrize("newest_us", [None, NOON_US + 1_000_000])
async def test_no_two_readings_of_a_meter_have_one_time_where_the_clock_was_set_back(newest_us: int | None) -> None:
    """E27: two of one meter and one time are one to the receiver, and the second would be set aside as a conflict."""
    first = [] if newest_us else [NOON_US + 123, NOON_US + 1_000_456]
    again = [NOON_US + 789, NOON_US + 1_000_000, NOON_US + 2_000_321]
    device = _meter(1, timeout_s=10, newest_us=newest_us)
    with ModbusMeters([1]) as meters:
        async with tcp_line(host="127.0.0.1", port=meters.port, connect_timeout_s=10) as line:
            await line.connect()
            times_us = [(await device.poll(line, _at(now_us))).arrived_us for now_us in [*first, *again]]
    whole = [now_us // 1000 * 1000 for now_us in first]
    assert times_us == [*whole, NOON_US + 789, NOON_US + 1_000_001, NOON_US + 2_000_000]


class _Setting(NotKept):
    """Sets a clock while it keeps what a meter refuses."""

    def __init__(self, wall: WallClock) -> None:
        self._wall = wall

    async def keep(self, device: str, profile: str, keys: Collection[str]) -> None:
        self._wall.ahead_us = NOON_US


async def test_a_clock_that_is_set_while_a_meter_is_waited_for_stamps_what_it_answered_before() -> None:
    """E27: a time of 1970 under the offset of today is corrected by nobody."""
    wall = WallClock()
    with ModbusMeters([1]) as meters:
        meters.ignore[1] = {0x0034}
        async with tcp_line(host="127.0.0.1", port=meters.port, connect_timeout_s=1.0) as line:
            await line.connect()
            asyncio.get_running_loop().call_later(0.2, setattr, wall, "ahead_us", NOON_US)
            began_us = Clock().boottime_us()
            polled = await _meter(1, timeout_s=0.4).poll(line, wall.clock)
    assert polled.silent
    assert polled.offset_us == pytest.approx(NOON_US, abs=10_000)
    assert polled.arrived_us is not None
    assert began_us - 10_000 <= polled.arrived_us - polled.offset_us <= began_us + 200_000


async def test_a_clock_that_is_set_after_a_reading_was_stamped_is_not_that_of_the_reading() -> None:
    """E27: what a meter refuses is written down between the reply and the buffer, on a slow card for seconds."""
    wall = WallClock()
    device = _meter(1, set_aside=_Setting(wall))
    with ModbusMeters([1]) as meters:
        meters.refuse[1] = {0x0008, 0x0009}
        began_us = Clock().boottime_us()
        async with _polling(meters.port, [device], wall.clock) as kept:
            await eventually(lambda: len(kept.readings) >= 20)
        ended_us = Clock().boottime_us()
    assert wall.ahead_us == NOON_US
    ahead_us = [
        (reading.time_us - offset_us - began_us, offset_us)
        for reading, offset_us in zip(kept.readings, kept.offsets_us, strict=True)
    ]
    assert all(-10_000 <= since_us <= ended_us - began_us + 10_000 for since_us, _ in ahead_us), ahead_us
    assert kept.offsets_us[0] == pytest.approx(0, abs=10_000)


async def test_a_meter_is_read_in_blocks_and_stamped_at_arrival() -> None:
    """E3, E12"""
    with ModbusMeters([1]) as meters:
        meters.set_float(1, 0x0000, 230.5)
        meters.set_float(1, 0x0034, -1234.56)
        meters.set_float(1, 0x0048, 12345.678)
        before_us = Clock().now_us()
        async with _polling(meters.port, [_meter(1)]) as kept:
            await eventually(lambda: len(kept.readings) >= 3)
    first = kept.readings[0]
    assert first.device == "meter-1"
    assert first.interval_ms == 50
    assert before_us - 1000 < first.time_us < Clock().now_us()
    assert (first.values["voltage_l1_v"], first.values["power_w"]) == (230.5, -1234.6)
    assert first.values["energy_import_wh"] == 12_345_678
    assert {(address, count) for _, address, count in meters.reads} == {(0x00, 18), (0x34, 28)}


async def test_a_reading_of_several_blocks_has_the_time_of_its_last_reply() -> None:
    """E12"""
    served_us: list[int] = []
    with ModbusMeters([1]) as meters:
        meters.delay_s[1, 0x0034] = 0.15
        meters.before_reply = lambda *_: served_us.append(time.time_ns() // 1000)
        async with _polling(meters.port, [_meter(1, timeout_s=5.0)]) as kept:
            await eventually(lambda: len(kept.readings) >= 2)
    for reading, last_us in zip(kept.readings, served_us[1::2], strict=False):
        assert last_us - 1000 < reading.time_us


async def test_a_meter_that_refuses_everything_while_it_starts_is_read_in_whole_blocks_again() -> None:
    """E3: half blocks would stay for as long as the daemon runs."""
    with ModbusMeters([1]) as meters:
        device = _meter(1)
        async with _polling(meters.port, [device]) as kept:
            await eventually(lambda: len(kept.readings) >= 2)
            meters.refuse[1] = set(range(0x0100))
            await eventually(lambda: device.state.failures_in_a_row >= 2)
            meters.refuse.clear()
            read = len(kept.readings)
            await eventually(lambda: len(kept.readings) >= read + 2)
    assert device.blocks == catalog.modbus("eastron-sdm630").blocks()


async def test_a_dead_meter_does_not_delay_its_neighbours() -> None:
    """E1: on one connection, a time-out costs the others that time-out once, and then ever less often."""
    dead = _meter(2, timeout_s=0.2)
    with ModbusMeters([1, 2]) as meters:
        meters.delay_s[2] = 60.0
        async with _polling(meters.port, [_meter(1), dead]) as kept:
            await eventually(lambda: dead.state.failures_in_a_row >= 5)
    requests = [place for place, (unit, *_) in enumerate(meters.reads) if unit == 2]
    between = [later - earlier - 1 for earlier, later in pairwise(requests)]
    assert not kept.of("meter-2")
    assert dead.state.errors == dead.state.failures_in_a_row
    # Requests to its neighbour: at least one poll of two blocks, and at last the polls of eight intervals.
    assert min(between) >= 2
    assert between[-1] >= 6


async def test_a_dead_endpoint_does_not_concern_another() -> None:
    """E1"""
    with ModbusMeters([1]) as meters:
        nobody = free_port()
        async with _polling(nobody, [_meter(9)]) as dead, _polling(meters.port, [_meter(1)]) as kept:
            await eventually(lambda: len(kept.readings) >= 10)
    assert not dead.readings


async def test_a_late_reply_is_never_taken_for_the_current_one() -> None:
    """E4: the reply comes after the time-out, with the registers of before."""
    with ModbusMeters([1]) as meters:
        device = _meter(1, timeout_s=0.15)
        meters.set_float(1, 0x0048, 1.0)
        async with _polling(meters.port, [device]) as kept:
            await eventually(lambda: len(kept.readings) >= 1)
            meters.delay_s[1] = 0.25
            await eventually(lambda: device.state.errors >= 1)
            meters.delay_s[1] = 0.0
            served = len(kept.readings)
            meters.set_float(1, 0x0048, 2.0)
            # What was asked first after this must be the new value: the old reply may still be on its way.
            await eventually(lambda: len(kept.readings) > served + 3)
    after = [reading.values["energy_import_wh"] for reading in kept.readings[served:]]
    assert set(after) == {2000}


async def test_a_reply_after_the_time_out_finds_its_connection_closed() -> None:
    """E4"""
    with ModbusMeters([1]) as meters:
        meters.delay_s[1] = 0.3
        async with tcp_line(host="127.0.0.1", port=meters.port, connect_timeout_s=1.0) as line:
            await line.connect()
            with pytest.raises(ModbusFault, match=r"no reply within 0\.1 s") as caught:
                await line.read(unit=1, function=4, address=0, count=2, timeout_s=0.1)
            assert caught.value.line_lost
            assert not line.connected


async def test_a_refused_register_costs_itself_and_not_its_block() -> None:
    """E2, E5: the meter lacks one register; every other keeps its own value."""
    with ModbusMeters([1]) as meters:
        for position, row in enumerate(catalog.modbus("eastron-sdm630").registers):
            meters.set_float(1, row.address, 0.001 * (position + 1))
        meters.refuse[1] = {0x0008, 0x0009}
        device = _meter(1)
        async with _polling(meters.port, [device]) as kept:
            await eventually(lambda: bool(kept.readings) and len(kept.readings[-1].values) == 17)
    profile = catalog.modbus("eastron-sdm630")
    final = kept.readings[-1].values
    assert "current_l2_a" not in final
    assert final["current_l3_a"] == pytest.approx(0.006)
    for position, row in enumerate(profile.registers):
        for reading in kept.readings:
            if row.quantity.startswith("energy") and row.quantity in reading.values:
                assert reading.values[row.quantity] == position + 1
    assert "illegal data address" in (device.state.last_error or "")


async def test_a_failed_block_leaves_its_values_out_and_the_others_in() -> None:
    """E5, E6"""
    with ModbusMeters([1]) as meters:
        meters.set_float(1, 0x0000, 230.0)
        meters.set_float(1, 0x0048, 7.0)
        meters.refuse[1] = set(range(0x12))
        async with _polling(meters.port, [_meter(1)]) as kept:
            await eventually(lambda: len(kept.readings) >= 1)
    assert kept.readings[0].values["energy_import_wh"] == 7000
    assert "voltage_l1_v" not in kept.readings[0].values


async def test_polling_goes_on_after_the_endpoint_was_away() -> None:
    """E11"""
    port = free_port()
    device = _meter(1)
    async with _polling(port, [device]) as kept:
        with ModbusMeters([1], port):
            await eventually(lambda: len(kept.readings) >= 3)
        seen = len(kept.readings)
        await eventually(lambda: device.state.errors >= 1)
        with ModbusMeters([1], port):
            await eventually(lambda: len(kept.readings) >= seen + 5, timeout_s=20)


async def test_one_connection_and_one_request_at_a_time() -> None:
    """E10"""
    with ModbusMeters([1, 2, 3]) as meters:
        busy: list[int] = []
        overlaps: list[int] = []

        def before_reply(unit: int, _address: int, _count: int) -> None:
            busy.remove(unit)

        meters.delay_s.update(dict.fromkeys([1, 2, 3], 0.01))
        meters.before_reply = before_reply
        append = meters.reads.append

        class Watched(list[tuple[int, int, int]]):
            def append(self, read: tuple[int, int, int]) -> None:
                overlaps.extend(busy)
                busy.append(read[0])
                append(read)

        meters.reads = Watched()
        async with _polling(meters.port, [_meter(1), _meter(2), _meter(3)]) as kept:
            await eventually(lambda: len(kept.readings) >= 20)
    assert not overlaps


async def test_a_poll_in_flight_is_finished_at_the_stop() -> None:
    """E18: what the meter has served is kept."""
    with ModbusMeters([1]) as meters:
        meters.delay_s[1] = 0.1
        async with _polling(meters.port, [_meter(1, interval_s=10)]) as kept:
            await eventually(lambda: len(meters.reads) >= 1)
        assert len(kept.readings) == 1


async def test_what_a_meter_refuses_is_remembered_over_a_restart_and_asked_again_after_an_hour(tmp_path: Path) -> None:
    """E2"""
    later_s = 0.0
    clock = Clock(monotonic_s=lambda: time.monotonic() + later_s)

    def meter() -> ModbusDevice:
        profile, kept = catalog.modbus("eastron-sdm630"), SetAsideFile(tmp_path / "set-aside.json")
        return ModbusDevice(id="m", unit=1, profile=profile, interval_s=0.02, timeout_s=0.3, set_aside=kept)

    with ModbusMeters([1]) as meters:
        meters.refuse[1] = {0x0008, 0x0009}
        async with _polling(meters.port, [first := meter()]):
            await eventually(lambda: first.state.set_aside == ("4:0x0008",))
        meters.reads.clear()
        async with _polling(meters.port, [second := meter()], clock=clock) as kept:
            await eventually(lambda: len(kept.readings) >= 5)
            assert second.state.errors == 0
            assert not [address for _, address, count in meters.reads if address <= 0x0008 < address + count]
            meters.refuse.clear()
            later_s = 3601.0
            await eventually(lambda: len(kept.readings[-1].values) == 18)
    assert second.state.set_aside == ()
    assert "current_l2_a" not in kept.readings[0].values


async def test_a_meter_that_says_itself_where_its_values_are_is_asked_again_after_it_was_away() -> None:
    """E11: another meter may have taken its place."""
    found: list[str] = []

    async def discover(read: Read) -> ModbusProfile:
        model = struct.unpack(">H", await read(function=3, address=0x5000, count=1))[0]
        found.append("abb-b23" if model else "eastron-sdm630")
        return catalog.modbus(found[-1])

    with ModbusMeters([1]) as meters:
        device = ModbusDevice(id="m", unit=1, discover=discover, interval_s=0.05, timeout_s=0.2)
        meters.set_float(1, 0x0000, 230.5)
        async with _polling(meters.port, [device]) as kept:
            await eventually(lambda: len(kept.readings) >= 2)
            assert found == ["eastron-sdm630"]
            meters.delay_s[1] = 60.0
            await eventually(lambda: device.state.failures_in_a_row >= 1)
            meters.delay_s.clear()
            meters.registers[1] |= {0x5000: 1, 0x5B00: 0, 0x5B01: 2301}
            await eventually(lambda: kept.readings[-1].values.get("voltage_l1_v") == 230.1)
    assert found[-1] == "abb-b23"
