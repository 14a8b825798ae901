"""RTU lines as they are: echoes, noise, other units, late replies, units that are gone, adapters that are pulled."""

import asyncio
import os
import random
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.clock import Clock
from edge.drivers.modbus import owed
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import Line, serial_line
from edge.errors import ModbusFault
from edge.profiles import catalog
from tests.integration.edge.peers import Kept, eventually
from tests.integration.edge.rtu import Answer, RtuMeters, crc, floats, frame


def _good(unit: int, function: int, _address: int, count: int) -> Sequence[tuple[float, bytes]]:
    return [(0.0, floats(unit, function, count, 2.0))]


@asynccontextmanager
async def _line(answer: Answer, **settings: float) -> AsyncIterator[tuple[RtuMeters, Line]]:
    async with RtuMeters(answer) as meters, serial_line(path=meters.path, **settings) as line:
        await line.connect()
        yield meters, line


async def _read(line: Line, *, unit: int = 1, count: int = 2, timeout_s: float = 0.3) -> tuple[float, ...]:
    data = await line.read(unit=unit, function=4, address=0x0400, count=count, timeout_s=timeout_s)
    return struct.unpack(f">{count // 2}f", data)


@asynccontextmanager
async def _polling(path: str, units: Sequence[int], *, interval_s: float, timeout_s: float) -> AsyncIterator[Kept]:
    kept, stop = Kept(), asyncio.Event()
    profile = catalog.modbus("eastron-sdm630")
    devices = [
        ModbusDevice(id=f"meter-{unit}", unit=unit, profile=profile, interval_s=interval_s, timeout_s=timeout_s)
        for unit in units
    ]
    line = serial_line(path=path, baud_rate=115_200)
    bus = ModbusBus(line=line, devices=devices, sink=kept, clock=Clock(), jitter=random.Random(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        try:
            yield kept
        finally:
            stop.set()


_NOISE = bytes.fromhex("00ff3c01040000")
_AROUND: dict[str, Answer] = {
    "nothing": _good,
    "noise before it": lambda u, f, a, n: [(0.0, _NOISE + floats(u, f, n, 2.0))],
    "the echo of the request": lambda u, f, a, n: [(0.0, _request(u, f, a, n) + floats(u, f, n, 2.0))],
    "the reply of another unit before it": lambda u, f, a, n: [
        (0.0, floats(u + 1, f, n, 9.0)),
        (0.02, floats(u, f, n, 2.0)),
    ],
    "a reply of another length before it": lambda u, f, a, n: [(0.0, floats(u, f, n + 2, 9.0) + floats(u, f, n, 2.0))],
    "a damaged copy before it": lambda u, f, a, n: [(0.0, floats(u, f, n, 9.0)[:-1] + b"\0" + floats(u, f, n, 2.0))],
    "pauses between its bytes": lambda u, f, a, n: [(0.002, bytes((byte,))) for byte in floats(u, f, n, 2.0)],
}


def _request(unit: int, function: int, address: int, count: int) -> bytes:
    body = struct.pack(">BBHH", unit, function, address, count)
    return body + crc(body)


@pytest.mark.both_event_loops
@pytest.mark.parametrize("around", _AROUND)
async def test_a_reply_is_found_whatever_is_around_it(around: str) -> None:
    """E4, E9"""
    async with _line(_AROUND[around]) as (_, line):
        for count in (2, 60, 2):
            assert set(await _read(line, count=count)) == {2.0}


_WRONG: dict[str, Answer] = {
    "of another unit": lambda u, f, a, n: [(0.0, floats(u + 1, f, n, 9.0))],
    "of another function": lambda u, f, a, n: [(0.0, floats(u, 3, n, 9.0))],
    "of another length": lambda u, f, a, n: [(0.0, floats(u, f, n - 2, 9.0))],
    "an exception to another function": lambda u, f, a, n: [(0.0, bytes((u, 0x83, 2)) + crc(bytes((u, 0x83, 2))))],
    "an exception of another unit": lambda u, f, a, n: [(0.0, bytes((u + 1, 0x84, 2)) + crc(bytes((u + 1, 0x84, 2))))],
    "damaged": lambda u, f, a, n: [(0.0, floats(u, f, n, 9.0)[:-3] + b"\x01\x02\x03")],
    "cut short": lambda u, f, a, n: [(0.0, floats(u, f, n, 9.0)[:-2])],
    "only its own echo": lambda u, f, a, n: [(0.0, _request(u, f, a, n))],
}


@pytest.mark.parametrize("wrong", _WRONG)
async def test_a_wrong_reply_is_a_fault_and_the_next_one_is_right(wrong: str) -> None:
    """E4, E6"""
    async with _line(_WRONG[wrong]) as (meters, line):
        with pytest.raises(ModbusFault, match=r"no reply within 0\.1 s"):
            await _read(line, count=4, timeout_s=0.1)
        meters.answer = _good
        assert await _read(line, count=4) == (2.0, 2.0)


async def test_a_late_reply_of_the_same_unit_and_length_is_not_taken_for_the_current_one() -> None:
    """E4: RTU has no transaction id; the reply of 9.0 comes while the same registers are asked for again."""
    answers = iter([[(0.3, floats(1, 4, 60, 9.0))]])
    async with _line(lambda u, f, a, n: next(answers, [(0.12, floats(u, f, n, 2.0))])) as (_, line):
        with pytest.raises(ModbusFault, match="no reply"):
            await _read(line, count=60, timeout_s=0.1)
        assert set(await _read(line, count=60, timeout_s=0.5)) == {2.0}
        assert set(await _read(line, count=60, timeout_s=0.5)) == {2.0}


async def test_replies_that_queue_up_are_never_taken_for_the_current_one() -> None:
    """E4: a converter keeps requests and answers them all in order, often late; every reply counts its request."""
    choice, asked, free_s = random.Random(7), 0, 0.0

    def answer(unit: int, function: int, _address: int, count: int) -> Sequence[tuple[float, bytes]]:
        nonlocal asked, free_s
        now_s = asyncio.get_running_loop().time()
        asked, free_s = asked + 1, max(free_s + 0.002, now_s + choice.uniform(0.0, 0.12))
        return [(free_s - now_s, floats(unit, function, count, float(asked)))]

    taken = 0
    async with _line(answer, baud_rate=115_200) as (_, line):
        for _ in range(120):
            try:
                assert set(await _read(line, count=4, timeout_s=0.03)) == {float(asked)}
                taken += 1
            except ModbusFault:
                await asyncio.sleep(choice.uniform(0.0, 0.03))
    assert taken > 5


async def test_a_gateways_word_settles_nothing_that_a_unit_still_owes() -> None:
    """E4: "target does not respond" comes at once, and the reply of 9.0 while the same registers are asked again."""
    body = bytes((1, 0x84, 11))
    answers = iter([[(0.25, floats(1, 4, 60, 9.0))], [(0.0, body + crc(body))]])
    async with _line(lambda u, f, a, n: next(answers, [(0.2, floats(u, f, n, 2.0))])) as (_, line):
        with pytest.raises(ModbusFault, match="no reply"):
            await _read(line, count=60, timeout_s=0.1)
        with pytest.raises(ModbusFault, match="exception 11, gateway target does not respond"):
            await _read(line, count=60, timeout_s=0.5)
        assert set(await _read(line, count=60, timeout_s=0.5)) == {2.0}


@pytest.mark.parametrize(("address", "count"), [(0xFFFF, 1), (0xFFFE, 2), (0x0000, 125)])
async def test_a_late_reply_at_the_edge_of_all_addresses_is_told_apart_too(address: int, count: int) -> None:
    """E4, E11"""
    async with _line(lambda *_: []) as (meters, line):
        for _ in range(3):
            with pytest.raises(ModbusFault, match="no reply"):
                await line.read(unit=1, function=3, address=address, count=count, timeout_s=0.03)
        meters.answer = lambda u, f, a, n: [(0.0, frame(u, f, [7] * n))]
        assert await line.read(unit=1, function=3, address=address, count=count, timeout_s=0.5) == b"\0\7" * count


async def test_a_meter_that_is_silent_on_half_a_value_is_asked_as_before_once_nothing_can_be_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E11: it answers no question by which a late reply could be told apart, and would never be read again."""
    monkeypatch.setattr(owed, "_LONGEST_OWED_S", 0.3)
    answers: Answer = lambda u, f, a, n: _good(u, f, a, n) if n == 2 else []  # noqa: E731
    async with _line(lambda *_: []) as (meters, line):
        with pytest.raises(ModbusFault, match="no reply"):
            await _read(line, timeout_s=0.05)
        meters.answer = answers
        with pytest.raises(ModbusFault, match="no reply"):
            await _read(line, timeout_s=0.05)
        await asyncio.sleep(0.35)
        assert await _read(line) == (2.0,)


async def test_a_unit_that_still_owes_a_reply_does_not_hold_up_the_others() -> None:
    """E1, E4"""
    async with _line(lambda u, f, a, n: [(0.15 if u == 1 else 0.0, floats(u, f, n, 8.0 + u))]) as (_, line):
        with pytest.raises(ModbusFault, match="no reply"):
            await _read(line, unit=1, timeout_s=0.1)
        for _ in range(20):
            assert await _read(line, unit=2, timeout_s=0.5) == (10.0,)


@pytest.mark.parametrize(
    ("baud_rate", "configured_s", "least_s"), [(9600, None, 0.00364), (115_200, None, 0.00175), (9600, 0.03, 0.03)]
)
async def test_the_line_is_silent_between_a_reply_and_the_next_request(
    baud_rate: int, configured_s: float | None, least_s: float
) -> None:
    """E9"""
    async with _line(_good, baud_rate=baud_rate, silence_s=configured_s) as (meters, line):
        for _ in range(20):
            await _read(line)
    assert len(meters.gaps_s) == 19
    assert min(meters.gaps_s) >= least_s


async def test_a_write_is_confirmed_by_the_meter_and_not_by_the_adapters_echo() -> None:
    def answer(unit: int, function: int, address: int, word: int) -> Sequence[tuple[float, bytes]]:
        echo = _request(unit, function, address, word)
        return [(0.0, echo)] if function == 6 else [(0.0, echo + frame(unit, function, [7] * word))]

    async with _line(answer) as (meters, line):
        with pytest.raises(ModbusFault, match="no reply"):
            await line.write(unit=1, function=6, address=5, values=[9], timeout_s=0.1)
        meters.answer = lambda u, f, a, n: [*answer(u, f, a, n), (0.01, _request(u, f, a, n) if f == 6 else b"")]
        await line.write(unit=1, function=6, address=5, values=[9], timeout_s=0.3)


async def test_an_exception_names_its_meaning() -> None:
    body = bytes((1, 0x84, 2))
    async with _line(lambda *_: [(0.0, body + crc(body))]) as (_, line):
        with pytest.raises(ModbusFault, match="exception 2, illegal data address") as caught:
            await _read(line)
    assert (caught.value.exception_code, caught.value.line_lost) == (2, False)


async def test_one_dead_unit_of_many_leaves_the_others_their_interval() -> None:
    """E1: after its first back-off their mean interval is at most 2 % longer than configured."""
    units, dead = range(1, 11), 4
    async with RtuMeters(lambda u, f, a, n: [] if u == dead else _good(u, f, a, n)) as meters:
        async with _polling(meters.path, units, interval_s=0.25, timeout_s=0.2) as kept:
            await eventually(lambda: sum(request[0] == dead for _, request in meters.requests) >= 2)
            start = len(kept.readings)
            await eventually(lambda: len(kept.readings) >= start + 15 * (len(units) - 1), timeout_s=30)
        for unit in set(units) - {dead}:
            times_us = [reading.time_us for reading in kept.readings[start:] if reading.device == f"meter-{unit}"]
            # From slot to slot: the first and the last may each be late by one time-out.
            slots = round((times_us[-1] - times_us[0]) / 250_000)
            assert slots <= 1.02 * (len(times_us) - 1)
            assert slots >= 12
        assert not kept.of(f"meter-{dead}")


@pytest.mark.both_event_loops
async def test_polling_goes_on_when_the_adapter_is_plugged_in_again(tmp_path: Path) -> None:
    """E11, E14: by its name, whatever number it has now."""
    link = tmp_path / "by-id"
    async with RtuMeters(_good) as meters:
        link.symlink_to(meters.path)
        async with _polling(str(link), [1], interval_s=0.05, timeout_s=0.2) as kept:
            await eventually(lambda: len(kept.readings) >= 3)
            async with RtuMeters(_good) as others:
                os.unlink(link)
                link.symlink_to(others.path)
                meters.unplug()
                await asyncio.sleep(0.1)
                seen = len(kept.readings)
                await eventually(lambda: len(kept.readings) >= seen + 3, timeout_s=20)
                assert others.requests


async def test_a_port_that_is_none_is_named(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.touch()
    for path in (plain, tmp_path / "missing"):
        with pytest.raises(ModbusFault, match="cannot be opened") as caught:
            await serial_line(path=str(path)).connect()
        assert caught.value.line_lost
