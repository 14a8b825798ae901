"""What is committed, and when it may be said to be kept."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from contract.notes import Note, NoteKind
from edge.buffer.deliveries import RECENT_DELIVERIES
from edge.buffer.lock import BufferLock, held
from edge.buffer.queue import BufferQueue
from edge.buffer.rows import Rejected
from edge.buffer.tables import MOST_NOTES, decoded_note
from edge.clock import Clock
from edge.drivers.mqtt.connection import RECEIVE_MAXIMUM
from edge.errors import BufferInUse
from edge.reading import Delivery, Reading
from tests.integration.edge.buffer.buffers import (
    START_US,
    alter,
    cut_all,
    kept,
    losses,
    opened,
    peek,
    queued,
    reading,
    registers,
    settle_all,
    store_at,
)


async def test_the_commit_is_full_and_ahead_of_the_acknowledgement(tmp_path: Path) -> None:
    """E13, E18, E19"""
    async with opened(tmp_path) as store, queued(store, commit_interval_s=0.2) as queue:
        future = queue.put([reading(1)], offset_us=0)
        await asyncio.sleep(0.05)
        assert not future.done()
        assert peek(tmp_path, "SELECT count(*) FROM segment") == [(0,)]
        await future
        assert peek(tmp_path, "SELECT readings FROM segment") == [(1,)]
        assert await store._file.look(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)


async def test_many_readings_are_committed_before_the_interval_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as store, queued(store, commit_interval_s=60, commit_readings=10) as queue:
        await asyncio.wait_for(asyncio.gather(*(queue.put([reading(n)], offset_us=0) for n in range(10))), 2)
    assert queue.state.commits == 1


async def test_a_group_is_one_commit_and_an_interval_of_zero_commits_at_once(tmp_path: Path) -> None:
    """E28"""
    async with opened(tmp_path) as store:
        async with queued(store, commit_interval_s=0.1) as queue:
            await asyncio.gather(*(queue.put([reading(n)], offset_us=0) for n in range(50)))
            assert queue.state.commits == 1
        async with queued(store, commit_interval_s=0) as queue:
            await asyncio.wait_for(queue.put([reading(99)], offset_us=0), 1)


async def test_a_commit_and_the_cut_of_the_live_lane_are_one_transaction(tmp_path: Path) -> None:
    """E28"""
    async with opened(tmp_path) as store:
        await store.commit([reading(0)])
        store.want_live = True
        before = await store._file.look(lambda db: db.total_changes)
        await store.commit([reading(1)])
        assert not store.want_live
        assert await store._file.look(lambda db: db.total_changes) == before + 2  # A segment and a batch.
        assert peek(tmp_path, "SELECT max(id) FROM segment") == peek(tmp_path, "SELECT last_id FROM batch")


async def test_readings_of_different_clocks_are_not_in_one_segment(tmp_path: Path) -> None:
    """E27"""
    async with opened(tmp_path) as store:
        options = {"commit_interval_s": 60, "commit_readings": 500, "memory_readings": 1000}
        queue = BufferQueue(store=store, clock=Clock(), epoch_offset_us=lambda offset_us: offset_us, **options)
        queue.put([reading(1)], offset_us=0)
        queue.put([reading(2)], offset_us=0)
        queue.put([reading(3)], offset_us=3_600_000_000)
        assert await queue.commit()
    assert peek(tmp_path, "SELECT offset_us, readings FROM segment") == [(0, 2), (3_600_000_000, 1)]


async def test_a_commit_that_is_cancelled_keeps_its_readings_once(tmp_path: Path) -> None:
    """E23: the disk may have them already when the task is told to end."""
    async with opened(tmp_path) as store:
        queue = BufferQueue(store=store, clock=Clock(), commit_interval_s=1, commit_readings=500, memory_readings=1000)
        for number in range(40):
            future = queue.put([reading(number)], offset_us=0)
            task = asyncio.create_task(queue.commit())
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert future.done() or queue.state.waiting
        assert await queue.commit()
    assert [one.values["energy_import_wh"] for one in kept(tmp_path)] == list(range(40))


async def test_a_commit_that_outlasts_its_time_is_a_timeout_and_not_a_cancellation(tmp_path: Path) -> None:
    """E18: who gives the last commit some seconds at the stop goes on with what is left to be done."""
    async with opened(tmp_path) as store:

        async def last_commit() -> None:
            async with asyncio.timeout(0):
                await store.commit([reading(1)])
                await asyncio.sleep(0)

        with pytest.raises(TimeoutError):
            await last_commit()
        await asyncio.sleep(0)
    assert kept(tmp_path) == [reading(1)]


async def test_who_is_cancelled_while_nothing_is_left_to_wait_for_is_cancelled_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:

        async def work() -> None:
            await store.commit([reading(1)])
            await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


async def test_two_commits_at_once_are_two_segments_in_their_order(tmp_path: Path) -> None:
    """E22"""
    async with opened(tmp_path) as store:
        await asyncio.gather(*(store.commit([reading(number)]) for number in range(20)))
        assert (await store.backlog()).readings == 20
    assert kept(tmp_path) == [reading(number) for number in range(20)]


async def test_notes_are_committed_with_readings_and_without(tmp_path: Path) -> None:
    silent = Note(NoteKind.SILENT, 1, 2, 0, "meter")
    async with opened(tmp_path) as store, queued(store) as queue:
        queue.note(silent)
        queue.news.clear()
        await asyncio.wait_for(queue.news.wait(), 2)
        assert peek(tmp_path, "SELECT count(*) FROM note") == [(1,)]
        queue.note(silent)
        await queue.put([reading(1)], offset_us=0)
        assert peek(tmp_path, "SELECT count(*) FROM note") == [(2,)]


async def test_of_raw_frames_the_newest_are_kept_within_their_bytes(tmp_path: Path) -> None:
    """E20"""
    store = store_at(tmp_path)
    store._limits.frames_bytes = 1_000
    await store.open()
    for number in range(30):
        await store.commit([], frames=[("meter", number, bytes(90)), ("meter", number, bytes(10))])
    await store.close()
    assert peek(tmp_path, "SELECT min(time_us), max(time_us), sum(length(body)) FROM frame") == [(20, 29, 1_000)]


async def test_rejected_messages_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    """E13"""
    async with opened(tmp_path) as store, queued(store, commit_interval_s=0, memory_readings=100_000) as queue:
        futures = [queue.reject("t", f"{n}".encode(), "why") for n in range(1100)]
        await asyncio.gather(*futures)
    assert peek(tmp_path, "SELECT count(*) FROM rejected") == [(1000,)]
    assert peek(tmp_path, "SELECT CAST(payload AS TEXT) FROM rejected ORDER BY id DESC LIMIT 1") == [("1099",)]


async def test_rejected_messages_take_a_share_of_the_room_at_most(tmp_path: Path) -> None:
    """E20"""
    async with opened(tmp_path, max_bytes=1_000_000) as store:
        await store.commit([], rejected=[Rejected("t", bytes(16_000), "why", number) for number in range(20)])
    [(held_bytes, newest)] = peek(tmp_path, "SELECT sum(length(payload)), max(received_us) FROM rejected")
    assert 80_000 < int(str(held_bytes)) <= 100_000
    assert newest == 19


async def test_deliveries_are_remembered_over_a_restart(tmp_path: Path) -> None:
    """E23"""
    delivery = Delivery.of("client", 65535, "topic", b"payload")
    async with opened(tmp_path) as store, queued(store) as queue:
        assert not queue.committed(delivery)
        await queue.put([reading(1)], deliveries=[delivery], offset_us=0)
        assert queue.committed(delivery)
    async with opened(tmp_path) as store, queued(store) as queue:
        assert await store.deliveries() == [delivery]
        assert queue.committed(delivery)


def _delivery(number: int, client: str = "client") -> Delivery:
    return Delivery.of(client, number % 65_535 + 1, "topic", b"%d" % number)


async def test_a_clients_deliveries_are_known_however_busy_the_others_are(tmp_path: Path) -> None:
    """E23: its link may have died between the commit and the acknowledgement."""
    quiet = _delivery(1, "quiet")
    async with opened(tmp_path) as store, queued(store, commit_interval_s=0) as queue:
        await queue.put([reading(1)], deliveries=[quiet], offset_us=0)
        await queue.put(
            [reading(2)], deliveries=[_delivery(number) for number in range(2 * RECENT_DELIVERIES)], offset_us=0
        )
        assert queue.committed(quiet)
    async with opened(tmp_path) as store:
        assert quiet in await store.deliveries()


@pytest.mark.parametrize("together", [1, 7, 64, 500, 4_000])
async def test_a_whole_window_is_known_after_a_crash_whatever_groups_it_was_committed_in(
    tmp_path: Path, together: int
) -> None:
    """E23: all the acknowledgements may have been lost, and the broker repeats all."""
    count = RECEIVE_MAXIMUM if together > 1 else 300
    window = [_delivery(number) for number in range(count)]
    async with opened(tmp_path) as store:
        for first in range(0, count, together):
            await store.commit([], deliveries=window[first : first + together])
    async with opened(tmp_path) as store:
        assert await store.deliveries() == window


async def test_what_is_kept_of_deliveries_is_a_window_and_not_much_more(tmp_path: Path) -> None:
    assert RECENT_DELIVERIES >= 4 * RECEIVE_MAXIMUM
    async with opened(tmp_path) as store, queued(store, commit_interval_s=0) as queue:
        for first in range(0, 3 * RECENT_DELIVERIES, 1_000):
            await queue.put([], deliveries=[_delivery(number) for number in range(first, first + 1_000)], offset_us=0)
        newest = [_delivery(number) for number in range(first + 1_000 - RECENT_DELIVERIES, first + 1_000)]
        assert all(queue.committed(delivery) for delivery in newest)
        assert not queue.committed(_delivery(0))
        known = await store.deliveries()
        assert known[-RECENT_DELIVERIES:] == newest
        assert len(known) < RECENT_DELIVERIES + 1_064  # The oldest group is whole.


async def test_a_delivery_that_is_committed_again_is_as_new_as_the_last(tmp_path: Path) -> None:
    """Brokers that give out the lowest free id say the same under the same id again and again."""
    again = _delivery(0)
    async with opened(tmp_path) as store, queued(store, commit_interval_s=0) as queue:
        await queue.put([], deliveries=[again], offset_us=0)
        await queue.put([], deliveries=[_delivery(number) for number in range(1, RECENT_DELIVERIES)], offset_us=0)
        await queue.put([], deliveries=[again, _delivery(RECENT_DELIVERIES)], offset_us=0)
        assert queue.committed(again)


async def test_memory_overflow_gives_up_the_oldest_and_records_the_span(tmp_path: Path) -> None:
    """E20: while the disk refuses, memory is bounded; a broker's message waits at the broker instead."""
    async with opened(tmp_path) as store:
        queue = BufferQueue(store=store, clock=Clock(), commit_interval_s=1, commit_readings=500, memory_readings=100)
        held_back = queue.put([reading(0, "plug")], deliveries=[Delivery.of("c", 1, "t", b"p")], offset_us=0)
        futures = [queue.put([reading(number)], offset_us=0) for number in range(150)]
        assert [future.cancelled() for future in futures] == [True] * 51 + [False] * 99
        assert await queue.commit()
        assert held_back.done()
        assert not held_back.cancelled()
        assert (await store.backlog()).readings == 100
        queue.put([reading(150)], offset_us=0)
        assert await queue.commit()
    # Once, however many commits follow.
    assert losses(tmp_path) == [("overflowed", 51, reading(0).time_us, reading(50).time_us)]


async def test_two_daemons_on_one_buffer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "buffer.lock"
    assert not held(path)
    with BufferLock(path):
        assert held(path)
        with pytest.raises(BufferInUse, match=r"in use by another segs-edge, pid \d+"), BufferLock(path):
            pass
    assert not held(path)


async def test_the_backlog_is_counted_and_its_times_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert (await store.backlog()).oldest_us is None
        await store.commit([reading(7), reading(8)])
        backlog = await store.backlog()
        assert (backlog.readings, backlog.oldest_us, store.next_seq) == (2, reading(7).time_us, 1)
        assert peek(tmp_path, "SELECT sum(length(body)) FROM segment") == [(backlog.bytes,)]
        await store.commit([reading(100)])
        assert await store.backlog_spans() == [(reading(7).time_us, reading(100).time_us)]
        await store.cut_live(1)
        assert await store.backlog_spans() == [
            (reading(7).time_us, reading(8).time_us),
            (reading(100).time_us, reading(100).time_us),
        ]
        await settle_all(store)
        backlog = await store.backlog()
        assert (backlog.readings, backlog.bytes, backlog.oldest_us) == (0, 0, None)
        assert await store.backlog_spans() == []


async def test_beyond_a_limit_the_nearest_spans_of_the_backlog_are_told_as_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in (0, 100, 110, 200, 300):
            await store.commit([reading(number)])
            await store.cut_live(1)
        spans = await store.backlog_spans(limit=4)
    seconds = [((first - START_US) // 10**6, (last - START_US) // 10**6) for first, last in spans]
    assert seconds == [(0, 0), (100, 110), (200, 200), (300, 300)]


async def test_the_newest_reading_is_known_after_a_restart_whether_it_was_delivered_or_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert store.newest_us is None
        await store.commit([reading(5)])
        await store.commit([reading(3)])
    async with opened(tmp_path) as store:
        assert store.newest_us == reading(5).time_us
        await settle_all(store)
        await store.confirm([(1, 2)], keep_s=0, asked_us=store._clock.now_us() + 1)
        await store.commit([])
        assert peek(tmp_path, "SELECT count(*) FROM segment") == [(0,)]
    async with opened(tmp_path) as store:
        assert store.newest_us == reading(5).time_us


async def test_a_note_that_cannot_be_read_any_more_costs_itself(tmp_path: Path) -> None:
    """E21"""
    good = Note(NoteKind.SILENT, 5, 6, 0, "meter")
    async with opened(tmp_path) as store:
        await store.commit([reading(1)], notes=[Note(NoteKind.SILENT, 1, 2, 0, "meter"), good])
    alter(tmp_path, "UPDATE note SET body = x'c1' WHERE id = 1")
    async with opened(tmp_path) as store:
        delivered = await settle_all(store)
    assert registers(delivered) == [1]
    assert peek(tmp_path, "SELECT id FROM note") == [(2,)]


async def test_a_reading_without_values_comes_back_as_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit([Reading("meter", 1, {}), reading(2)])
        [batch] = await settle_all(store)
    assert batch.readings == 2


@pytest.mark.parametrize(
    "poison",
    [
        {"values": {"energy_import_wh": 2**64}},
        {"values": {"energy_import_wh": -(2**63) - 1}},
        {"values": {"power_w": float("nan")}},
        {"time_us": 2**62 + 1},
        {"interval_ms": 2**31},
        {"flags": 2**15},
        {"flags": -1},
        {"device": "me\udc80ter"},
        {"device": "m" * 97},
    ],
)
async def test_a_reading_that_no_batch_can_hold_is_set_aside_alone(tmp_path: Path, poison: dict[str, object]) -> None:
    """E26: its neighbours are committed and sent."""
    async with opened(tmp_path) as store, queued(store) as queue:
        await queue.put([reading(1), msgspec.structs.replace(reading(2), **poison), reading(3)], offset_us=0)
        await queue.put([reading(4)], offset_us=0)
        assert sorted(registers(await cut_all(store))) == [1, 3, 4]
    [(payload, reason)] = peek(tmp_path, "SELECT CAST(payload AS TEXT), reason FROM rejected")
    assert payload.startswith("Reading(device='m")
    assert "no " in reason
    assert peek(tmp_path, "SELECT count(*) FROM loss") == [(0,)]


async def test_notes_that_memory_has_no_room_for_are_counted(tmp_path: Path) -> None:
    """E20: while the disk refused, silences went on."""
    async with opened(tmp_path) as store, queued(store) as queue:
        queue.news.clear()
        for number in range(10_005):
            queue.note(Note(NoteKind.SILENT, START_US + number, START_US + number + 1, device="meter"))
        await asyncio.wait_for(queue.news.wait(), 5)
    [(oldest,)] = peek(tmp_path, "SELECT body FROM note ORDER BY id LIMIT 1")
    assert decoded_note(oldest).first_us == START_US + 5
    assert peek(tmp_path, "SELECT value FROM meta WHERE key = 'lost_notes'") == [(5,)]


async def test_notes_that_nobody_takes_are_bounded_and_the_newest_are_kept(tmp_path: Path) -> None:
    """E20: a receiver of version 1 takes none, and readings would be given up for their room."""
    notes = [Note(NoteKind.NOT_RUNNING, START_US + n, START_US + n + 1) for n in range(MOST_NOTES)]
    async with opened(tmp_path) as store:
        await store.commit([], notes=notes[:10])
        await store.cut_live(5000)
        await store.commit([reading(1)], notes=notes[10:20])
        for start in range(0, MOST_NOTES, 10_000):
            await store.commit([], notes=notes[start : start + 10_000])
        assert peek(tmp_path, "SELECT count(*) FROM note WHERE seq IS NULL") == [(MOST_NOTES,)]
        assert peek(tmp_path, "SELECT value FROM meta WHERE key = 'lost_notes'") == [(10,)]
        assert peek(tmp_path, "SELECT count(*) FROM note WHERE seq IS NOT NULL") == [(10,)]
        [(newest,)] = peek(tmp_path, "SELECT body FROM note ORDER BY id DESC LIMIT 1")
        assert decoded_note(newest) == notes[-1]
