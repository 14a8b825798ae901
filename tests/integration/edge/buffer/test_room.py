"""When the buffer is full: what goes first, what never goes, and that every reading of it is counted."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from contract.notes import NoteKind
from edge.buffer.limits import Limits
from edge.buffer.room import REDUCED, REGISTERS, WHOLE
from edge.buffer.segments import QUARTER_HOUR_US
from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    ID_STEP,
    alter,
    content,
    cut_all,
    kept,
    losses,
    opened,
    peek,
    reading,
    receipt,
    registers,
    settle_all,
    waiting,
)

_S = 1_000_000


def _whole(number: int, rng: random.Random, device: str = "meter") -> Reading:
    """One a second, with three instantaneous values and two registers."""
    values = {f"power_l{phase}_w": round(rng.uniform(0, 9999), 1) for phase in (1, 2, 3)}
    return Reading(device, number * _S, {**values, **_registers(number, rng)}, 0, 1000)


def _registers(number: int, rng: random.Random) -> dict[str, int]:
    return {"energy_import_wh": number, "energy_export_wh": rng.getrandbits(40)}


async def _fill(store: Store, numbers: Iterable[int], rng: random.Random) -> None:
    for first in numbers:
        await store.commit([_whole(number, rng) for number in range(first, first + 200)])
        await store.make_room()


def _counted(folder: Path) -> dict[str, int]:
    rows = peek(folder, "SELECT kind, sum(readings) FROM loss GROUP BY kind")
    return {str(kind): int(str(count)) for kind, count in rows}


@pytest.mark.long
async def test_a_full_buffer_keeps_energy_registers_longest_and_says_what_it_gave_up(fast_path: Path) -> None:
    """E20: the newest is never refused, and what is gone is counted to the reading."""
    rng, total = random.Random(5), 0
    async with opened(fast_path, max_bytes=2**20) as store:
        while "thinned" not in _counted(fast_path) or total < 60_000:
            await _fill(store, [total], rng)
            total += 200
            assert total < 200_000
        held, used = await store.backlog(), await store.used_bytes()
        delivered = await settle_all(store)
    assert used < 1.1 * 2**20
    assert _counted(fast_path)["thinned"] + held.readings == total
    numbers = sorted(registers(delivered))
    assert numbers[-1] == total - 1
    [(until,)] = peek(fast_path, "SELECT max(last_us) FROM loss WHERE reason LIKE 'thinned to quarter-hour%'")
    quarters = {n * _S // QUARTER_HOUR_US for n in numbers if n * _S <= int(str(until))}
    assert quarters == set(range(int(str(until)) // QUARTER_HOUR_US + 1))


async def test_instantaneous_values_go_first_down_to_quarter_hours_and_every_register_stays(fast_path: Path) -> None:
    """E20"""
    rng = random.Random(6)
    async with opened(fast_path, max_bytes=400_000) as store:
        total = 0
        while not _counted(fast_path):
            await _fill(store, [total], rng)
            total += 200
        found = kept(fast_path)
    found.sort(key=lambda one: one.time_us)
    assert [one.values["energy_import_wh"] for one in found] == list(range(total))
    reduced = [one for one in found if len(one.values) == 2]
    assert _counted(fast_path) == {"reduced": len(reduced)}
    first = [one for one in found[: len(reduced)] if len(one.values) == 5]
    assert [one.time_us // _S % 900 for one in first[:-1]] == [899] * (len(first) - 1)
    assert peek(fast_path, "SELECT DISTINCT level FROM segment ORDER BY level") == [(WHOLE,), (REDUCED,)]


async def test_no_register_goes_while_there_are_instantaneous_values(fast_path: Path) -> None:
    """E20: meters that have registers alone came first."""
    rng = random.Random(7)
    async with opened(fast_path) as store:
        for first in range(0, 40_000, 2_000):
            await store.commit([reading(number, f"m-{rng.getrandbits(60)}") for number in range(first, first + 2_000)])
        for first in range(0, 20_000, 2_000):
            await store.commit([_whole(number, rng) for number in range(first, first + 2_000)])
        store._limits = Limits(max_bytes=await store.used_bytes() - 50_000)
        await store.make_room()
    assert {*_counted(fast_path)} == {"reduced"}


async def test_the_registers_of_a_meter_that_tells_them_one_by_one_all_stay(fast_path: Path) -> None:
    """E20: a broker's meter may say import in one message, and export in the next."""
    names = ["energy_import_wh", "energy_export_wh", "power_w"]
    async with opened(fast_path) as store:
        for number in range(2_700):
            await store.commit([Reading("meter", number * _S, {names[number % 3]: number})])
        store._limits = Limits(max_bytes=1)
        for _ in range(2):
            await store._file.change(store._give_up)
        found = kept(fast_path)
    ends = {(one.time_us // QUARTER_HOUR_US, *one.values): one.time_us // _S % 900 for one in found}
    assert {key: second for key, second in ends.items() if key[1] != "power_w"} == {
        (quarter, name): 897 + place for quarter in range(3) for place, name in enumerate(names[:2])
    }


async def test_once_only_energy_registers_are_left_the_oldest_go_and_the_newest_stay(fast_path: Path) -> None:
    """E20: one register a quarter of an hour has nothing to thin; the bound holds all the same."""
    rng, quarter = random.Random(6), 0
    async with opened(fast_path, max_bytes=2**19) as store:
        while not peek(fast_path, "SELECT 1 FROM loss WHERE reason LIKE 'dropped:%'"):
            readings = [
                Reading(f"meter-{n}", quarter * QUARTER_HOUR_US, {"energy_import_wh": rng.getrandbits(40)}, 0, 900_000)
                for n in range(500)
            ]
            await store.commit(readings)
            await store.make_room()
            quarter += 1
            assert quarter < 2_000
        held = await store.backlog()
        assert await store.used_bytes() < 1.1 * 2**19
    rows = peek(fast_path, "SELECT reason, readings FROM loss")
    lost = dict(rows)
    assert len(rows) == len(lost)
    assert int(str(lost["dropped: the buffer is full of energy registers"])) + held.readings == quarter * 500
    assert peek(fast_path, "SELECT max(last_us) FROM segment") == [((quarter - 1) * QUARTER_HOUR_US,)]
    assert "thinned to quarter-hour energy registers: the buffer is full" not in lost
    assert peek(fast_path, "SELECT DISTINCT level FROM segment WHERE id < (SELECT max(id) FROM segment)") == [
        (REGISTERS,)
    ]


async def test_what_is_in_a_batch_is_not_thinned_and_what_has_arrived_goes_first(fast_path: Path) -> None:
    """E20, E22: nothing that is only here goes while there is a copy over there."""
    rng = random.Random(8)
    async with opened(fast_path) as store:
        await _fill(store, range(0, 4_000, 200), rng)
        batches = await cut_all(store, 1_000)
        assert await store.settle(receipt(batches[1]))
        delivered = set(registers(batches[1]))
        await _fill(store, range(4_000, 6_000, 200), rng)
        store._limits = Limits(max_bytes=await store.used_bytes() - 1)
        assert await store.make_room() == []
        assert {one.values["energy_import_wh"] for one in kept(fast_path)} == set(range(6_000)) - delivered
        store._limits = Limits(max_bytes=1)
        await store.make_room()
        assert [batch for batch in await waiting(store) if batch.seq <= batches[-1].seq] == [batches[0], *batches[2:]]
        held = (await store.backlog()).readings
    assert _counted(fast_path)["thinned"] == 6_000 - len(delivered) - held
    assert peek(fast_path, "SELECT value FROM meta WHERE key = 'synced_readings'") == [(len(delivered),)]


async def test_each_loss_is_a_note_for_the_cloud(fast_path: Path) -> None:
    """E20: it knows why there is a gap, and how much is missing."""
    rng = random.Random(9)
    async with opened(fast_path) as store:
        await _fill(store, range(0, 40_000, 200), rng)
        store._limits = Limits(max_bytes=1)
        await store.make_room()
        arrived = await settle_all(store)
    told: dict[NoteKind, int] = {}
    for note in (note for batch in arrived for note in content(batch).notes):
        told[note.kind] = told.get(note.kind, 0) + note.readings
    assert told == _counted(fast_path)
    assert told[NoteKind.THINNED] == 40_000 - sum(batch.readings for batch in arrived)


async def test_a_full_buffer_gives_up_a_damaged_segment_and_goes_on(tmp_path: Path) -> None:
    """E20, E21"""
    async with opened(tmp_path, max_bytes=1) as store:
        for number in range(1, 4):
            await store.commit([reading(number)])
        alter(tmp_path, f"UPDATE segment SET body = x'00' WHERE id = {2 * ID_STEP}")
        lost = await store.make_room()
        arrived = registers(await settle_all(store))
    assert [loss.readings for loss in lost if loss.reason == "damaged on the disk"] == [1]
    assert arrived[-1] == 3


async def test_readings_of_different_clocks_are_thinned_apart(tmp_path: Path) -> None:
    """E20, E27: they may still have to be set right, each by its own."""
    async with opened(tmp_path, truth=lambda: 0) as store:
        for number in range(6):
            await store.commit([reading(number)], offset_us=number // 3 * 7_000_000)
        await store.commit([reading(6)])
        store._limits = Limits(max_bytes=1)
        for _ in range(4):
            await store._file.change(store._give_up)
    assert peek(tmp_path, "SELECT offset_us, readings FROM segment ORDER BY id") == [(0, 1), (7_000_000, 1), (0, 1)]


@pytest.mark.parametrize("refused", [0, 1])
async def test_refused_readings_do_not_take_the_room_of_the_others(fast_path: Path, refused: int) -> None:
    """E20, E26"""
    rng = random.Random(7)
    async with opened(fast_path, max_bytes=2**20) as store:
        for number in range(3_000 * refused):
            await store._file.change(
                lambda db, number=number: db.execute(  # type: ignore[misc]
                    "INSERT INTO refused (device, time_us, body, status, reason, refused_us) "
                    "VALUES ('m', ?, ?, 1, '', 0)",
                    (number, rng.randbytes(500)),
                )
            )
        await store.commit([reading(0)])
        await store.make_room()
        assert (await store.backlog()).readings == 1
    [(count, oldest)] = peek(fast_path, "SELECT count(*), min(time_us) FROM refused")
    if refused:
        assert oldest == 3_000 - int(str(count)) == 3_000 - 1_000
        assert losses(fast_path) == [("thinned", 2_000, 0, 1_999)]
    else:
        assert losses(fast_path) == []
