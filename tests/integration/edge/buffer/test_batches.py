"""Batches: cut once, numbered without a gap, the same bytes however often, deleted when they surely arrived."""

import random
from pathlib import Path

import msgspec
import pytest

from contract.codec import MSGPACK
from contract.receipt import Quarantined
from edge.buffer.batches import CutBatch, Lane
from tests.integration.edge.buffer.buffers import (
    ID_STEP,
    Time,
    alter,
    copied,
    cut_all,
    losses,
    opened,
    peek,
    reading,
    receipt,
    registers,
    settle_all,
    waiting,
)

_ALL = [(1, 1_000_000)]


def _as_backlog(batch: CutBatch) -> CutBatch:
    """The same bytes, in the lane that waits: live ones are newer by now."""
    return msgspec.structs.replace(batch, lane=Lane.BACKLOG)


@pytest.mark.parametrize("version", [1, 2])
async def test_a_batch_is_cut_once_and_never_changes(tmp_path: Path, version: int) -> None:
    """E22, E23"""
    async with opened(tmp_path) as store:
        if version == 1:
            store.media_type = MSGPACK
        await store.commit([reading(1)])
        await store.commit([reading(2)])
        await store.cut_live(5000)
        first = await store.outstanding(Lane.LIVE)
        await store.commit([reading(3)])
        assert await store.outstanding(Lane.LIVE) == first
    async with opened(tmp_path) as store:
        assert await store.outstanding(Lane.LIVE) == first
        assert registers(first) == [1, 2]
        assert await store.settle(receipt(first[0]))
        [second] = await cut_all(store)
    assert (second.seq, registers(second)) == (2, [3])


async def test_batches_take_whole_segments_up_to_the_limit_with_dense_numbers(tmp_path: Path) -> None:
    """E22, E24"""
    rng = random.Random(3)
    numbers = iter(range(10_000))
    async with opened(tmp_path) as store:
        for _ in range(60):
            await store.commit([reading(next(numbers)) for _ in range(rng.randint(1, 40))])
        total = next(numbers)
        delivered = []
        while batches := await cut_all(store, 100):
            delivered += batches[:3]
            for batch in batches[:3]:
                assert await store.settle(receipt(batch))
    assert all(batch.readings <= 100 for batch in delivered)
    assert sorted(registers(delivered)) == list(range(total))
    assert [batch.seq for batch in delivered] == list(range(1, len(delivered) + 1))
    backlog = registers(batch for batch in delivered if batch.lane is Lane.BACKLOG)
    assert backlog == list(range(len(backlog)))


async def test_numbers_go_on_after_a_restart_though_all_is_delivered_and_deleted(tmp_path: Path) -> None:
    """E22"""
    time = Time()
    for number in range(1, 4):
        async with opened(tmp_path, clock=time.clock) as store:
            await store.commit([reading(number)])
            [batch] = await settle_all(store)
            assert batch.seq == number
            time.forward(1)
            await store.confirm(_ALL, keep_s=0, asked_us=time.now_us)
            await store.commit([])
            assert peek(tmp_path, "SELECT count(*) FROM segment") == [(0,)]


async def test_a_renumbered_buffer_begins_at_one_with_all_that_is_not_confirmed(tmp_path: Path) -> None:
    """E23: after a restore, a receiver may know numbers that this gateway never gave."""
    async with opened(tmp_path) as store:
        for number in range(3):
            await store.commit([reading(number)])
            await store.cut_live(1)
        before = store.stream
        first, second, _ = await waiting(store)
        assert await store.settle(receipt(first))
        await store.renumber("known there already")
        assert (store.stream != before, store.next_seq) == (True, 1)
        assert not await store.settle(receipt(second))
        batches = await cut_all(store)
    assert registers(batches) == [0, 1, 2]
    assert {batch.stream for batch in batches} == {store.stream}
    async with opened(tmp_path) as store:
        assert await waiting(store) == batches


@pytest.mark.parametrize("change", [{"seq": 2}, {"sha256": "0" * 64}, {"stream": "another"}])
async def test_only_the_receipt_of_the_batch_settles_it(tmp_path: Path, change: dict[str, object]) -> None:
    """E16"""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
        [batch] = await cut_all(store)
        assert not await store.settle(receipt(batch, **change))
        assert await waiting(store) == [batch]


async def test_a_receipt_that_was_not_written_down_is_asked_for_once_more(tmp_path: Path) -> None:
    """E23: it waits for the next commit; a power cut before that costs one repeat, which the receiver knows."""
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
        [batch] = await cut_all(store)
        assert await store.settle(receipt(batch))
        assert await waiting(store) == []
        async with opened(copied(tmp_path, tmp_path / "copy")) as after_the_cut:
            assert await waiting(after_the_cut) == [batch]
    async with opened(tmp_path) as store:
        assert await waiting(store) == []


async def test_of_a_receipt_only_what_says_more_than_stored_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(2):
            await store.commit([reading(number)])
            await store.cut_live(1)
        plain, other = await waiting(store)
        quarantined = [Quarantined("meter", "unknown_device", 1)]
        assert await store.settle(receipt(plain))
        message = receipt(other)
        message.stored, message.quarantined = 0, quarantined
        assert await store.settle(message)
        await store.commit([])
    [(first, nothing), (second, text)] = peek(tmp_path, "SELECT receipt_us, receipt FROM batch ORDER BY seq")
    assert None not in (first, second)
    assert nothing is None
    assert "unknown_device" in str(text)


async def test_what_the_receiver_still_has_is_deleted_when_it_is_old_enough(tmp_path: Path) -> None:
    """E16, E29"""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        for number in range(3):
            await store.commit([reading(number)])
            await settle_all(store)
            time.forward(100)
        assert store.lowest_unconfirmed() == 1
        assert await store.confirm(_ALL, keep_s=150, asked_us=time.now_us) == 0
        assert peek(tmp_path, "SELECT count(*) FROM segment") == [(3,)]
        await store.commit([reading(3)])
        assert store.lowest_unconfirmed() == 3
    ids = [row_id for (row_id,) in peek(tmp_path, "SELECT id FROM segment ORDER BY id")]
    assert ids == [3 * ID_STEP, 4 * ID_STEP]
    assert peek(tmp_path, "SELECT value FROM meta WHERE key = 'synced_readings'") == [(2,)]
    assert peek(tmp_path, "SELECT seq FROM batch WHERE confirmed_us IS NULL") == [(3,)]


async def test_what_the_receiver_has_lost_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """E16: it may have been restored from a backup."""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        for number in range(4):
            await store.commit([reading(number)])
            await store.cut_live(1)
        batches = await waiting(store)
        for batch in batches[:3]:
            assert await store.settle(receipt(batch))
        await store.commit([])
        time.forward(10)
        asked_us = time.now_us
        time.forward(1)
        assert await store.settle(receipt(batches[3]))  # Asked before: it cannot be known yet.
        assert await store.confirm([(2, 2)], keep_s=5, asked_us=asked_us) == 2
        assert await waiting(store) == [_as_backlog(batches[0]), _as_backlog(batches[2])]
        assert peek(tmp_path, "SELECT count(*) FROM segment") == [(3,)]
    async with opened(tmp_path, clock=time.clock) as store:
        assert await waiting(store) == [_as_backlog(batches[0]), _as_backlog(batches[2])]


async def test_a_clock_that_goes_back_keeps_nothing_for_ever(tmp_path: Path) -> None:
    """E27, E29: receipts of a time that is still to come age from now on."""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        await store.commit([reading(1)])
        await settle_all(store)
        await store.commit([reading(2)])
        time.forward(-10 * 365 * 86_400)
        await store.confirm(_ALL, keep_s=60, asked_us=time.now_us)
        await store.commit([])
        assert peek(tmp_path, "SELECT count(*) FROM segment") == [(2,)]
        time.forward(61)
        await store.confirm(_ALL, keep_s=60, asked_us=time.now_us)
        await store.commit([])
    assert peek(tmp_path, "SELECT id FROM segment") == [(2 * ID_STEP,)]


async def test_a_clock_that_went_back_hides_no_batch_that_the_receiver_lost(tmp_path: Path) -> None:
    """E27"""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        await store.commit([reading(1)])
        [batch] = await settle_all(store)
        await store.commit([])
        time.forward(-86_400)
        assert await store.confirm([], keep_s=60, asked_us=time.now_us) == 1
        assert await waiting(store) == [_as_backlog(batch)]


async def test_confirmed_batches_are_history_for_a_while(fast_path: Path) -> None:
    """E29"""
    time = Time()
    async with opened(fast_path, clock=time.clock) as store:
        for number in range(2_100):
            store.want_live = True
            await store.commit([reading(number)])
            if number % 100 == 99:
                await settle_all(store)
                time.forward(1)
                await store.confirm(_ALL, keep_s=0, asked_us=time.now_us)
        await store.commit([])
        assert len(store._ledger.outbox.cuts) == 0
    assert peek(fast_path, "SELECT count(*), min(seq) FROM batch") == [(2_000, 101)]


_DAMAGES = {
    "cut": "substr(body, 1, length(body) - 3)",
    "not-zstd": "x'00'",
    # The frame stays well-formed: only its checksum tells that the values in it are others.
    "bits-of-a-value": "CAST(substr(body, 1, length(body) - 5) || x'7f' || substr(body, length(body) - 3) AS BLOB)",
}


def _damage(folder: Path, how: str, where: str) -> None:
    alter(folder, f"UPDATE segment SET body = {_DAMAGES[how]} WHERE {where}")


@pytest.mark.parametrize("how", _DAMAGES)
async def test_a_damaged_segment_costs_itself_and_not_its_neighbours(tmp_path: Path, how: str) -> None:
    """E21: a worn card gives back other bytes in a file that is sound."""
    async with opened(tmp_path) as store:
        for number in range(1, 4):
            await store.commit([reading(number)])
    _damage(tmp_path, how, f"id = {2 * ID_STEP}")
    async with opened(tmp_path) as store:
        [batch] = await settle_all(store)
        assert registers(batch) == [1, 3]
        assert (await store.backlog()).readings == 0
    time_us = reading(2).time_us
    assert losses(tmp_path) == [("damaged", 1, time_us, time_us)]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_backlog_of_damaged_segments_alone_ends_as_a_loss_and_no_readings(tmp_path: Path, version: int) -> None:
    """E21: a receiver that knows notes is told, one of version 1 gets no empty batch."""
    async with opened(tmp_path) as store:
        if version == 1:
            store.media_type = MSGPACK
        await store.commit([reading(1)])
        _damage(tmp_path, "not-zstd", "true")
        batches = await settle_all(store)
        assert [batch.readings for batch in batches] == [0] * (version - 1)
        assert await store.backlog_spans() == []
        await store.commit([reading(2)])
        [batch] = await settle_all(store)
        assert (await store.backlog()).readings == 0
    assert (batch.seq, registers(batch)) == (version, [2])


async def test_a_batch_whose_segment_is_damaged_later_is_emptied_and_the_rest_cut_anew(tmp_path: Path) -> None:
    """E21, E22: its number must not be missing, and must not be another batch's."""
    async with opened(tmp_path) as store:
        for number in range(1, 4):
            await store.commit([reading(number)])
        await store.cut_live(5000)
    _damage(tmp_path, "bits-of-a-value", f"id = {2 * ID_STEP}")
    async with opened(tmp_path) as store:
        [void] = await waiting(store)
        assert (void.seq, void.readings, registers(void)) == (1, 0, [])
        assert registers(await settle_all(store)) == [1, 3]
        assert (await store.backlog()).readings == 0
    assert losses(tmp_path) == [("damaged", 1, reading(2).time_us, reading(2).time_us)]
    assert peek(tmp_path, "SELECT seq, readings FROM batch WHERE seq < 3") == [(1, 0), (2, 2)]


@pytest.mark.parametrize(
    "change", ["first_id = 1", f"last_id = {3 * ID_STEP}", "true_us = 7", "sha256 = zeroblob(32)", "media_type = 'x'"]
)
@pytest.mark.parametrize("delivered", [False, True])
async def test_a_row_of_a_batch_that_is_damaged_costs_no_reading(tmp_path: Path, change: str, delivered: bool) -> None:
    """E21: a receipt deletes what it was given for, and nothing that a damaged row points to."""
    time = Time()
    async with opened(tmp_path, clock=time.clock) as store:
        for number in range(1, 4):
            await store.commit([reading(number)])
        await store.cut_live(1)
        await store.cut_backlog(1, 2)
        if delivered:
            assert await store.settle(receipt((await waiting(store))[1]))
    alter(tmp_path, f"UPDATE batch SET {change} WHERE seq = 2")
    arrived = set()
    async with opened(tmp_path, clock=time.clock) as store:
        for _ in range(3):
            arrived |= set(registers(await settle_all(store)))
            time.forward(1)
            await store.confirm([(1, store.next_seq)], keep_s=0, asked_us=time.now_us)
            await store.commit([])
    assert arrived | ({1} if delivered else set()) == {1, 2, 3}


@pytest.mark.long
async def test_memory_and_file_do_not_grow_with_what_was_delivered(fast_path: Path) -> None:
    """E29, E30"""
    time, sizes, memory = Time(), [], []
    async with opened(fast_path, clock=time.clock) as store:
        for number in range(20_000):
            store.want_live = number % 4 == 0
            await store.commit([reading(number)])
            if number % 1_000 == 999:
                await settle_all(store)
                time.forward(1)
                await store.confirm(_ALL, keep_s=0, asked_us=time.now_us)
                await store.make_room()
                sizes.append(_bytes_in(fast_path))
                memory.append(_resident_bytes())
    # The history of batches is as long as it gets after 8,000.
    assert max(sizes[10:]) <= 1.1 * max(sizes[:10])
    assert max(memory[10:]) - max(memory[:10]) < 2 * 2**20


def _bytes_in(folder: Path) -> int:
    return sum(part.stat().st_size for part in folder.glob("buffer.sqlite*"))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_the_file_gives_its_room_back_when_what_filled_it_is_gone(fast_path: Path) -> None:
    """E20"""
    rng = random.Random(2)
    async with opened(fast_path) as store:
        store._limits.frames_bytes = 2**30
        await store.commit([reading(0)], frames=[("meter", n, rng.randbytes(500_000)) for n in range(50)])
        assert _bytes_in(fast_path) > 25_000_000
        store._limits.frames_bytes = 1_000
        await store.commit([reading(1)], frames=[("meter", 50, b"small")])
        await store.make_room()
        assert _bytes_in(fast_path) < 1_000_000
        assert registers(await settle_all(store)) == [0, 1]
    async with opened(fast_path) as store:
        assert peek(fast_path, "SELECT sum(readings) FROM segment") == [(2,)]
