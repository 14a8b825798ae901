"""What is in the buffer: every method is one transaction, or one look."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

import structlog

from contract.codec import PACKED
from contract.notes import Note, NoteKind
from contract.receipt import Receipt
from edge.buffer.batches import CutBatch, Lane, made
from edge.buffer.cutter import Cutter
from edge.buffer.deliveries import keep, kept
from edge.buffer.gaps import MOST_SPANS, merged
from edge.buffer.limits import Limits, give_back, pages
from edge.buffer.receipts import Confirmation, release
from edge.buffer.refusal import Refusal
from edge.buffer.room import STEP_READINGS, give_up
from edge.buffer.rows import Backlog, Loss, Rejected
from edge.buffer.segments import DamagedSegment
from edge.buffer.tables import (
    count_lost_notes,
    insert_frames,
    insert_loss,
    insert_notes,
    insert_rejected,
    insert_segment,
)
from edge.buffer.transactions import Transactions
from edge.clock import Clock
from edge.reading import Delivery, Reading

_LOG = structlog.get_logger("edge.buffer")
REJECTED_ROWS, PAYLOAD_BYTES = 1_000, 16_384
"""How many messages that could not be read are kept, the newest, and how much of each."""
# Garbage is not to push readings out: its share of the room.
_REJECTED_SHARE = 0.1
_MOST_STEPS = 20
_LIVE_SPAN_US = 10_000_000


class Store:
    """The buffer at `path`. `open` it first, and again after BufferDamaged or where BufferUnwritable says so.

    There is only one process at a file, by the caller. `truth` gives the wall time less the monotonic time of the
    running boot, None while it is not known: until then nothing of that boot is cut. `media_type` is the form in which
    batches are made, `note_kinds` what kinds of notes they may have. While `want_live` is set, the next commit cuts the
    live lane in the same transaction.
    """

    def __init__(
        self,
        *,
        path: Path,
        clock: Clock,
        limits: Limits,
        boot_id: str = "",
        truth: Callable[[], int | None] = lambda: 0,
        mount: Path | None = None,
        live_span_us: int = _LIVE_SPAN_US,
        live_readings: int = 5_000,
    ) -> None:
        self.media_type = PACKED
        self.note_kinds: frozenset[str] = frozenset(NoteKind)
        self.want_live = False
        self._path, self._clock, self._limits = path, clock, limits
        self._live_span_us, self._live_readings = live_span_us, live_readings
        self._file = Transactions(path=path, mount=mount, clock=clock, boot_id=boot_id, truth=truth)
        self._ledger, self._receipts = self._file.ledger, self._file.receipts

    @property
    def newest_us(self) -> int | None:
        """Of the newest reading when the buffer was opened; None where there was none."""
        return self._file.newest_us

    @property
    def stream(self) -> str:
        return self._ledger.outbox.stream

    @property
    def next_seq(self) -> int:
        return self._ledger.outbox.next_seq

    async def open(self) -> None:
        """Open the buffer, or begin one. Raises BufferUnwritable while the disk does not allow it, BufferFormat."""
        await self._file.open()

    async def close(self) -> None:
        """Write down the receipts that wait, and close. The store is not used afterwards."""
        await self._file.close()

    async def commit(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int = 0,
        rejected: Sequence[Rejected] = (),
        deliveries: Sequence[Delivery] = (),
        losses: Sequence[Loss] = (),
        notes: Sequence[Note] = (),
        lost_notes: int = 0,
        frames: Sequence[tuple[str, int, bytes]] = (),
    ) -> None:
        """Keep all of it, in one transaction. Raises BufferUnwritable, BufferDamaged; then nothing of it is kept.

        `offset_us` is the wall clock less the monotonic one when the readings were stamped. `lost_notes` are those that
        there was no room for.
        """
        now_us, live = self._clock.now_us(), self.want_live

        def work(db: sqlite3.Connection) -> bool:
            if readings:
                boot = self._ledger.boots.of_commit(db)
                size = insert_segment(db, self._ledger.next_id, readings, boot=boot, offset_us=offset_us)
                self._ledger.added(len(readings), size)
            if rejected:
                held_bytes = round(self._limits.max_bytes * _REJECTED_SHARE)
                insert_rejected(db, rejected, rows=REJECTED_ROWS, held_bytes=held_bytes)
            if deliveries:
                keep(db, deliveries)
            for loss in losses:
                insert_loss(db, loss, now_us)
            insert_notes(db, notes)
            count_lost_notes(db, lost_notes)
            if frames:
                insert_frames(db, frames, held_bytes=self._limits.frames_bytes)
            return live and self._cut_live(db, now_us, self._live_readings)

        if await self._file.change(work):
            self.want_live = False

    async def deliveries(self) -> list[Delivery]:
        """The newest committed deliveries of every client."""
        return await self._file.look(kept)

    def _cutter(self, db: sqlite3.Connection, now_us: int) -> Cutter:
        return Cutter(
            db,
            self._ledger.outbox,
            boots=self._ledger.boots,
            media_type=self.media_type,
            note_kinds=self.note_kinds,
            now_us=now_us,
        )

    def _cut_live(self, db: sqlite3.Connection, now_us: int, max_readings: int) -> bool:
        return self._cutter(db, now_us).live(max_readings=max_readings, span_us=self._live_span_us)

    async def cut_live(self, max_readings: int) -> bool:
        """Cut what is newest and in no batch, notes alone too; False when there is nothing."""
        now_us = self._clock.now_us()
        return await self._file.change(lambda db: self._cut_live(db, now_us, max_readings))

    async def cut_backlog(self, max_readings: int, count: int) -> int:
        """Cut up to `count` batches of the oldest readings that are in none; how many there were.

        Without any, nothing is written.
        """
        now_us = self._clock.now_us()
        if not await self._file.look(lambda db: self._cutter(db, now_us).has_backlog()):
            return 0
        return await self._file.change(
            lambda db: self._cutter(db, now_us).backlog(max_readings=max_readings, count=count)
        )

    async def outstanding(self, lane: Lane, limit: int = 1, *, without: Collection[int] = ()) -> list[CutBatch]:
        """Batches of `lane` without a receipt, the oldest first: at most `limit`, none that is numbered in `without`.

        One that cannot be made any more as it was cut is emptied, and what is left of it is cut anew.
        """
        while True:
            got = self._receipts.seqs.union(without)
            found, damaged = await self._file.look(partial(self._made, lane=lane, limit=limit, got=got))
            if not damaged:
                return found
            for seq, reason in damaged.items():
                _LOG.error("batch damaged, cut anew", seq=seq, reason=reason)
            await self._file.change(partial(self._repair, seqs=damaged, now_us=self._clock.now_us()))

    def _made(
        self, db: sqlite3.Connection, *, lane: Lane, limit: int, got: Collection[int]
    ) -> tuple[list[CutBatch], dict[int, str]]:
        """Batches that wait, and what is wrong with those that cannot be made."""
        waiting = [cut for cut in self._ledger.outbox.outstanding(lane, limit + len(got)) if cut.seq not in got]
        found, damaged = [], {}
        for cut in waiting[:limit]:
            try:
                found.append(made(db, cut, stream_id=self._ledger.outbox.stream_id, stream=self._ledger.outbox.stream))
            except DamagedSegment as error:
                damaged[cut.seq] = str(error)
        return found, damaged

    def _repair(self, db: sqlite3.Connection, *, seqs: Iterable[int], now_us: int) -> None:
        for seq in seqs:
            if seq in self._ledger.outbox.cuts:
                self._ledger.outbox.repair(db, seq, now_us)
        self._ledger.boots.load(db)

    async def settle(self, receipt: Receipt) -> bool:
        """Note the receipt, to be written down with the next transaction; False when it matches no batch that waits."""
        cut = self._ledger.outbox.cuts.get(receipt.seq)
        return self._receipts.note(receipt, cut, stream=self.stream, now_us=self._clock.now_us())

    async def confirm(self, received: list[tuple[int, int]], *, keep_s: float, asked_us: int) -> int:
        """Delete what the receiver still has `keep_s` after its receipt; what it lost is outstanding again: how many.

        It was asked at `asked_us`: what it got later is not among `received`. Deleting waits for the next transaction.
        """
        now_us = self._clock.now_us()
        confirmation = Confirmation(received, asked_us, now_us - round(keep_s * 1e6))
        self._receipts.confirmation = confirmation
        lost = await self._file.look(lambda _: self._receipts.lost(self._ledger.outbox, confirmation, now_us))
        if lost:
            await self._file.change(lambda _: None)
        return len(lost)

    def lowest_unconfirmed(self) -> int | None:
        """The number from which to ask the receiver what it has; None when all is confirmed."""
        return min(self._ledger.outbox.cuts, default=None)

    async def set_back(self, seq: int) -> None:
        """Send batch `seq` with the backlog."""
        await self._file.change(lambda db: self._ledger.outbox.set_back(db, seq))

    async def refuse(self, seq: int, *, status: int, reason: str) -> int:
        """The receiver will not have batch `seq`: its halves are cut anew. How many readings were set aside, alone."""
        now_us = self._clock.now_us()

        def work(db: sqlite3.Connection) -> int:
            cutter = self._cutter(db, now_us)
            alone = Refusal(db, self._ledger.outbox, cutter, status=status, reason=reason, now_us=now_us).settle(seq)
            self._ledger.count(db)
            return alone

        return await self._file.change(work)

    async def renumber(self, reason: str) -> None:
        """Begin a new stream; everything that is not confirmed is cut anew under it."""
        now_us, before = self._clock.now_us(), self.stream

        def work(db: sqlite3.Connection) -> None:
            self._ledger.outbox.renumber(db, now_us)
            self._ledger.boots.load(db)

        await self._file.change(work)
        self._receipts.clear()
        _LOG.warning("a new stream begins", reason=reason, before=before, stream=self.stream)

    async def used_bytes(self) -> int:
        """Bytes of the file's pages that hold something."""
        used, _ = await self._file.look(pages)
        return used

    async def make_room(self) -> list[Loss]:
        """Give up some of the oldest until the bounds hold, or for as long as a commit may wait; none when they hold.

        Every loss is recorded, and the newest readings are never given up. What has a receipt goes first.
        """
        losses: list[Loss] = []
        for _ in range(_MOST_STEPS):
            if not await self._file.look(lambda db: self._limits.exceeded(db, self._path.parent)):
                break
            step = await self._file.change(self._give_up)
            if step is None:
                break
            losses += step
        await self._file.run(give_back)
        return losses

    def _give_up(self, db: sqlite3.Connection) -> list[Loss] | None:
        """One step; None when nothing is left that may go."""
        now_us = self._clock.now_us()
        if released := release(db, self._ledger.outbox, readings=STEP_READINGS, now_us=now_us):
            self._ledger.deleted(db, released)
            return []
        losses = give_up(db, self._limits.max_bytes, list(self._ledger.outbox.uncut()))
        for loss in losses or ():
            insert_loss(db, loss, now_us)
        self._ledger.count(db)
        return losses

    async def check(self) -> None:
        """Whether the file is still the one at its path. Raises BufferUnwritable when it was taken away."""
        await self._file.check()

    async def backlog(self) -> Backlog:
        """What has no receipt."""
        return await self._file.look(partial(self._ledger.backlog, got=self._receipts.seqs))

    async def backlog_spans(self, limit: int = MOST_SPANS) -> list[tuple[int, int]]:
        """The times of what has no receipt, ascending and disjoint; the nearest are told as one beyond `limit`."""
        return merged(await self._file.look(partial(self._ledger.waiting, got=self._receipts.seqs)), limit)
