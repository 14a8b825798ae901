"""What the receiver will not have ends alone, and holds up nothing else."""

from pathlib import Path

import pytest

from contract.codec import MSGPACK, PACKED
from contract.notes import Note, NoteKind
from edge.buffer.batches import CutBatch
from edge.buffer.segments import unpack
from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    alter,
    content,
    cut_all,
    losses,
    opened,
    peek,
    reading,
    receipt,
    registers,
)

_NOTE = Note(NoteKind.SILENT, 1, 2, 0, "meter", "no answer")
_BAD_NOTE = Note(NoteKind.SILENT, 3, 4, 0, "meter", "poison")


async def _deliver(store: Store, poison: set[int], *, bad_notes: bool = True) -> tuple[list[CutBatch], int]:
    """Deliver to a receiver that will have no batch with any of `poison`; what arrived, and how often it said no."""
    arrived, refusals = [], 0
    while batches := await cut_all(store):
        for batch in batches:
            notes = [note for note in content(batch).notes if note.detail == "poison"]
            if poison & set(registers(batch)) or (bad_notes and notes):
                await store.refuse(batch.seq, status=422, reason="$.devices[0]: no")
                refusals += 1
            else:
                assert await store.settle(receipt(batch))
                arrived.append(batch)
    return arrived, refusals


async def test_a_reading_that_is_refused_ends_alone_and_the_rest_arrives(tmp_path: Path) -> None:
    """E26, C4"""
    async with opened(tmp_path) as store:
        for first in range(0, 5_000, 500):
            await store.commit([reading(number, f"meter-{number % 7}") for number in range(first, first + 500)])
        arrived, refusals = await _deliver(store, {1_234})
        assert (await store.backlog()).readings == 0
        assert await store.confirm([(1, store.next_seq - 1)], keep_s=0, asked_us=store._clock.now_us()) == 0
    assert sorted(registers(arrived)) == [number for number in range(5_000) if number != 1_234]
    assert refusals <= 14  # Ten segments, 500 readings in each: halves of halves.
    [(device, time_us, body, status, reason)] = peek(
        tmp_path, "SELECT device, time_us, body, status, reason FROM refused"
    )
    refused = reading(1_234, "meter-2")
    assert (device, time_us, status, reason) == (refused.device, refused.time_us, 422, "$.devices[0]: no")
    assert unpack(body) == [refused]  # type: ignore[arg-type]
    assert losses(tmp_path) == [("refused", 1, refused.time_us, refused.time_us)]
    notes = [note for batch in arrived for note in content(batch).notes]
    assert [(note.kind, note.readings) for note in notes] == [(NoteKind.REFUSED, 1)]


async def test_numbers_of_refused_batches_are_sent_empty_and_none_is_missing(tmp_path: Path) -> None:
    """E22, E26"""
    async with opened(tmp_path) as store:
        await store.commit([reading(number) for number in range(64)])
        arrived, _ = await _deliver(store, {5, 50})
        last = store.next_seq - 1
    assert sorted(batch.seq for batch in arrived) == list(range(1, last + 1))
    assert sorted(registers(arrived)) == [number for number in range(64) if number not in (5, 50)]


async def test_halves_stay_what_they_are_over_a_restart(tmp_path: Path) -> None:
    """E22, E26"""
    async with opened(tmp_path) as store:
        await store.commit([reading(number) for number in range(10)])
        [batch] = await cut_all(store)
        await store.refuse(batch.seq, status=422, reason="no")
        halves = await cut_all(store)
    async with opened(tmp_path) as store:
        assert await cut_all(store) == halves
    assert [(batch.seq, registers(batch)) for batch in halves] == [
        (1, []),
        (2, [0, 1, 2, 3, 4]),
        (3, [5, 6, 7, 8, 9]),
    ]


async def test_all_that_is_refused_is_set_aside_one_by_one(tmp_path: Path) -> None:
    """E26"""
    async with opened(tmp_path) as store:
        await store.commit([reading(number) for number in range(20)])
        await store.commit([reading(number) for number in range(20, 40)])
        arrived, _ = await _deliver(store, set(range(40)))
    assert registers(arrived) == []
    assert peek(tmp_path, "SELECT count(*), count(DISTINCT time_us) FROM refused") == [(40, 40)]
    assert losses(tmp_path) == [("refused", 40, reading(0).time_us, reading(39).time_us)]


async def test_a_refused_note_is_given_up_and_neither_its_neighbours_nor_any_reading(tmp_path: Path) -> None:
    """E26"""
    good = [Note(NoteKind.SILENT, number, number) for number in range(10)]
    async with opened(tmp_path) as store:
        await store.commit([reading(1), reading(2)], notes=[*good[:4], _BAD_NOTE, *good[4:]])
        arrived, refusals = await _deliver(store, set())
    assert refusals <= 6
    assert registers(arrived) == [1, 2]
    assert sorted(note.first_us for batch in arrived for note in content(batch).notes) == list(range(10))


async def test_notes_that_came_after_a_refused_one_are_not_taken_for_it(tmp_path: Path) -> None:
    """E26"""
    async with opened(tmp_path) as store:
        await store.commit([], notes=[_BAD_NOTE])
        [batch] = await cut_all(store)
        await store.commit([], notes=[_NOTE])
        await store.refuse(batch.seq, status=422, reason="no")
        arrived, _ = await _deliver(store, set())
    assert [note for batch in arrived for note in content(batch).notes] == [_NOTE]


async def test_what_a_receiver_of_the_old_form_refused_is_cut_anew_in_that_form(tmp_path: Path) -> None:
    """E26: it may have been set back to an older release while a batch of the new form was under way."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1), reading(2)], notes=[_NOTE])
        [batch] = await cut_all(store)
        assert batch.media_type == PACKED
        store.media_type = MSGPACK
        await store.refuse(batch.seq, status=415, reason="no such form")
        _, *rest = await cut_all(store)
        assert {one.media_type for one in rest} == {MSGPACK}
        assert registers(rest) == [1, 2]
        for one in rest:
            assert await store.settle(receipt(one))
        store.media_type = PACKED
        assert [note for one in await cut_all(store) for note in content(one).notes] == [_NOTE]


async def test_a_segment_that_is_damaged_when_it_is_to_be_split_is_a_loss(tmp_path: Path) -> None:
    """E21, E26"""
    async with opened(tmp_path) as store:
        await store.commit([reading(1), reading(2)])
        [batch] = await cut_all(store)
        alter(tmp_path, "UPDATE segment SET body = x'00'")
        await store.refuse(batch.seq, status=422, reason="no")
        arrived, _ = await _deliver(store, set())
        assert (await store.backlog()).readings == 0
    assert registers(arrived) == []
    assert losses(tmp_path) == [("damaged", 2, reading(1).time_us, reading(2).time_us)]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_segment_is_split_down_to_readings_that_are_alike(tmp_path: Path, count: int) -> None:
    """E26: the same device at the same time, twice, as a broker may deliver it."""
    twins = [Reading("meter", 7, {"energy_import_wh": 40 + number}) for number in range(count)]
    async with opened(tmp_path) as store:
        await store.commit(twins)
        arrived, _ = await _deliver(store, {40})
    assert sorted(registers(arrived)) == [40 + number for number in range(1, count)]
    assert peek(tmp_path, "SELECT count(*) FROM refused") == [(1,)]


async def test_a_number_that_is_not_waiting_any_more_can_be_refused_no_longer(tmp_path: Path) -> None:
    """E11: an answer may come when the batch is another's already; that is no reason to end."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
        [batch] = await cut_all(store)
        assert await store.settle(receipt(batch))
        assert await store.refuse(batch.seq, status=422, reason="late") == 0
        assert await store.refuse(99, status=422, reason="never given") == 0
        assert await cut_all(store) == []
    assert peek(tmp_path, "SELECT count(*) FROM refused") == [(0,)]
