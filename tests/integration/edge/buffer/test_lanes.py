"""Which way readings go: the newest at once, the others when there is room. None is lost or twice on the way."""

import random
from pathlib import Path

import pytest

from contract.codec import MSGPACK, PACKED
from contract.notes import FIRST_KINDS, Note, NoteKind
from edge.buffer.batches import CutBatch, Lane
from edge.buffer.limits import Limits
from edge.buffer.segments import unpack
from edge.buffer.store import Store
from tests.integration.edge.buffer.buffers import (
    Time,
    content,
    copied,
    cut_all,
    opened,
    peek,
    reading,
    receipt,
    registers,
    settle_all,
    store_at,
    waiting,
)


async def test_after_an_outage_the_live_lane_has_the_newest_and_the_backlog_the_oldest(tmp_path: Path) -> None:
    """E24: live data does not wait behind hours of backlog."""
    async with opened(tmp_path, live_span_us=10_000_000) as store:
        for number in range(100):
            await store.commit([reading(number)])
        store.want_live = True
        await store.commit([reading(100)])
        [live] = await store.outstanding(Lane.LIVE)
        assert await store.cut_backlog(30, 2) == 2
        backlog = await store.outstanding(Lane.BACKLOG, limit=10)
    assert registers(live) == list(range(90, 101))
    assert [registers(batch) for batch in backlog] == [list(range(30)), list(range(30, 60))]
    assert [live.seq, *(batch.seq for batch in backlog)] == [1, 2, 3]


async def test_the_tail_is_left_to_the_live_lane(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit([reading(1)])
        assert await store.cut_backlog(100, 5) == 0
        assert await store.cut_live(100)
        assert not await store.cut_live(100)
        await store.commit([reading(2)])
        assert await store.cut_backlog(100, 5) == 0
        assert await store.cut_live(100)
        assert registers(await waiting(store)) == [1, 2]


async def test_a_live_batch_has_no_more_readings_than_it_may_but_for_a_group_that_is_larger(tmp_path: Path) -> None:
    """E24"""
    async with opened(tmp_path) as store:
        for first in (0, 10, 20):
            await store.commit([reading(number) for number in range(first, first + 10)])
        assert await store.cut_live(25)
        await store.commit([reading(number) for number in range(30, 80)])
        assert await store.cut_live(25)
        assert [batch.readings for batch in await waiting(store)] == [20, 50]


async def test_old_and_new_starts_of_the_machine_are_not_in_one_batch(tmp_path: Path) -> None:
    """E27: each has a clock of its own."""
    for number in range(3):
        async with opened(tmp_path, boot_id=f"boot-{number}", truth=lambda truth_us=number: truth_us) as store:
            await store.commit([reading(10 * number)])
            await store.commit([reading(10 * number + 1)])
    async with opened(tmp_path, boot_id="boot-2", truth=lambda: 2) as store:
        assert [registers(batch) for batch in await cut_all(store)] == [[20, 21], [0, 1], [10, 11]]


async def test_notes_travel_with_the_next_batch_or_alone_and_never_to_a_receiver_without(tmp_path: Path) -> None:
    note = Note(NoteKind.SILENT, 1, 2, 0, "meter", "no answer")
    async with opened(tmp_path) as store:
        store.media_type = MSGPACK
        await store.commit([reading(1)], notes=[note])
        [old] = await settle_all(store)
        assert content(old).version == 1
        store.media_type = PACKED
        [alone] = await settle_all(store)
        await store.commit([reading(2)], notes=[note, note])
        [both] = await settle_all(store)
    assert (alone.readings, content(alone).notes, (alone.first_us, alone.last_us)) == (0, [note], (1, 2))
    assert (registers(both), content(both).notes) == ([2], [note, note])


async def test_a_note_that_was_told_in_older_terms_is_made_again_in_them(tmp_path: Path) -> None:
    """C3, E23: one number has one content, whatever the receiver takes by then."""
    note = Note(NoteKind.OVERRUN, 1, 2, 7, "meter", "polls left out")
    async with opened(tmp_path) as store:
        store.note_kinds = FIRST_KINDS
        await store.commit([reading(1)], notes=[note])
        assert await store.cut_live(5000)
        [before] = await waiting(store)
        store.note_kinds = frozenset(NoteKind)
    async with opened(tmp_path) as store:
        [after] = await waiting(store)
        await store.commit([reading(2)], notes=[note])
        [_, newer] = await cut_all(store)
    assert (after.body, content(after).notes[0].kind) == (before.body, NoteKind.SILENT)
    assert content(newer).notes == [note]


class _Receiver:
    """What it has of each stream, by number; it will have no batch with a poisoned reading."""

    def __init__(self) -> None:
        self.have: dict[tuple[str, int], list[int]] = {}
        self.ever: set[int] = set()
        self.bodies: dict[tuple[str, int], bytes] = {}

    def refuses(self, batch: CutBatch) -> bool:
        return any(number % 41 == 40 for number in registers(batch))

    def take(self, batch: CutBatch) -> None:
        key = (batch.stream, batch.seq)
        assert self.bodies.setdefault(key, batch.body) == batch.body, "one number, two contents"
        self.have[key] = registers(batch)
        self.ever.update(self.have[key])

    def ranges(self, stream: str) -> list[tuple[int, int]]:
        return [(seq, seq) for of, seq in self.have if of == stream]

    def lose_some(self, rng: random.Random) -> None:
        for key in rng.sample(list(self.have), min(len(self.have), 3)):
            del self.have[key]


class _Life:
    """A gateway's life, in random steps, and what must be true all along."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng, self.folder, self.time = random.Random(seed), folder, Time()
        self.receiver = _Receiver()
        self.committed = self.copies = self.thinned = 0
        self.refused_seqs: set[tuple[str, int]] = set()
        self.seen: dict[tuple[str, int], bytes] = {}
        self.given_up: set[int] = set()
        self.store = self._store()

    def _store(self) -> Store:
        return store_at(self.folder, clock=self.time.clock, live_span_us=7_000_000, live_readings=30)

    async def run(self, steps: int) -> None:
        await self.store.open()
        ways = {
            self.commit: 12, self.cut: 8, self.deliver: 8, self.reply_lost: 2, self.confirm: 5, self.losing: 1,
            self.renumber: 1, self.reopen: 1, self.kill: 2, self.make_room: 1, self.clock: 1,
        }  # fmt: skip
        for _ in range(steps):
            self.time.forward(1)
            [way] = self.rng.choices([*ways], [*ways.values()])
            await way()
            await self.check()
        await self.end()

    async def commit(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            count = self.rng.choice([1, 1, 2, 5, 20])
            self.store.want_live = self.rng.random() < 0.5
            notes = [Note(NoteKind.SILENT, 1, 2)] if self.rng.random() < 0.1 else []
            group = [reading(self.committed + n, f"meter-{n % 3}") for n in range(count)]
            await self.store.commit(group, notes=notes)
            self.committed += count

    async def cut(self) -> None:
        if self.rng.random() < 0.5:
            await self.store.cut_live(30)
        else:
            await self.store.cut_backlog(30, self.rng.randint(1, 3))

    async def deliver(self) -> None:
        batches = await waiting(self.store)
        for batch in self.rng.sample(batches, min(len(batches), 3)):
            await self._deliver(batch)

    async def _deliver(self, batch: CutBatch) -> None:
        if self.receiver.refuses(batch):
            self.refused_seqs.add((batch.stream, batch.seq))
            await self.store.refuse(batch.seq, status=422, reason="no")
        else:
            self.receiver.take(batch)
            assert await self.store.settle(receipt(batch))
            assert not await self.store.settle(receipt(batch))

    async def reply_lost(self) -> None:
        for batch in (await waiting(self.store))[:2]:
            if not self.receiver.refuses(batch):
                self.receiver.take(batch)

    async def confirm(self) -> None:
        ranges, asked_us = self.receiver.ranges(self.store.stream), self.time.now_us
        self.time.forward(1)
        if self.rng.random() < 0.3:
            await self.deliver()
        await self.store.confirm(ranges, keep_s=self.rng.choice([0, 10]), asked_us=asked_us)

    async def losing(self) -> None:
        self.receiver.lose_some(self.rng)

    async def renumber(self) -> None:
        await self.store.renumber("a test")
        assert self.store.next_seq == 1

    async def reopen(self) -> None:
        await self.store.close()
        self.store = self._store()
        await self.store.open()

    async def kill(self) -> None:
        self.copies += 1
        self.folder = copied(self.folder, self.folder.parent / f"copy-{self.copies}")
        await self.store.close()
        self.store = self._store()
        await self.store.open()

    async def clock(self) -> None:
        self.time.forward(self.rng.choice([-100_000, -100, 100, 3_600]))

    async def make_room(self) -> None:
        before = self._segments() | self._refused()
        self.store._limits = Limits(max_bytes=self.rng.choice([1, 30_000]))
        lost = await self.store.make_room()
        self.store._limits = Limits(max_bytes=2**30)
        gone = before - self._segments() - self._refused() - self.receiver.ever
        self.given_up |= gone
        self.thinned += sum(loss.readings for loss in lost)
        assert len(gone) <= sum(loss.readings for loss in lost) <= len(before), (len(gone), lost, len(before))

    def _segments(self) -> set[int]:
        return self._numbers("SELECT body FROM segment")

    def _refused(self) -> set[int]:
        return self._numbers("SELECT body FROM refused")

    def _numbers(self, sql: str) -> set[int]:
        bodies = peek(self.folder, sql)
        return {one.values["energy_import_wh"] for (body,) in bodies for one in unpack(body)}  # type: ignore[arg-type,misc]

    async def check(self) -> None:
        batches = await waiting(self.store)
        for batch in batches:
            key = (batch.stream, batch.seq)
            if key in self.refused_seqs:
                assert batch.readings == 0
            else:
                assert self.seen.setdefault(key, batch.body) == batch.body, "a batch changed"
        together = registers(batches)
        assert len(together) == len(set(together)), "a reading is in two batches"
        known = {
            seq for (seq,) in peek(self.folder, "SELECT seq FROM batch WHERE stream = (SELECT max(id) FROM stream)")
        }
        assert known == set(range(1, self.store.next_seq)), "numbers are not dense"
        delivered = [cut for cut in self.store._ledger.outbox.cuts.values() if self.store._receipts.got(cut)]
        there = peek(self.folder, "SELECT coalesce(sum(readings), 0) FROM segment")[0][0]
        assert (await self.store.backlog()).readings == int(str(there)) - sum(cut.readings for cut in delivered)

    async def end(self) -> None:
        """All that is left is delivered, and what the receiver lost meanwhile is sent once more."""
        for _ in range(50):
            for batch in await cut_all(self.store, 30):
                await self._deliver(batch)
            self.time.forward(1)
            ranges = self.receiver.ranges(self.store.stream)
            await self.store.confirm(ranges, keep_s=0, asked_us=self.time.now_us)
            await self.store.commit([])
            if not await cut_all(self.store, 30) and not self._segments():
                break
        refused = self._refused()
        everything = set(range(self.committed))
        poison = {number for number in everything if number % 41 == 40}
        assert not self._segments()
        assert refused <= poison
        assert self.receiver.ever.isdisjoint(refused)
        assert everything == self.receiver.ever | refused | self.given_up
        assert poison == refused | (self.given_up & poison)
        for stream in {stream for stream, _ in self.receiver.have}:
            there = [number for (of, _), numbers in self.receiver.have.items() if of == stream for number in numbers]
            assert len(there) == len(set(there)), "a reading is in two batches of one stream"
        [(recorded,)] = peek(self.folder, "SELECT coalesce(sum(readings), 0) FROM loss WHERE kind = 'thinned'")
        assert recorded == self.thinned
        assert (await self.store.backlog()).readings == 0
        await self.store.close()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_every_reading_is_delivered_or_kept_or_counted(fast_path: Path, seed: int) -> None:
    """E16, E18, E20, E22, E23, E26"""
    folder = fast_path / "first"
    folder.mkdir()
    await _Life(folder, seed).run(120)
