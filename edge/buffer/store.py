"""What is in the buffer: every method is one transaction, or one look."""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from contract.codec import PACKED
from contract.notes import Note
from contract.receipt import Receipt
from edge.buffer.batches import Cut, CutBatch, Lane, made
from edge.buffer.database import Thread, change, look
from edge.buffer.deliveries import keep, kept
from edge.buffer.file import closed, meta, open_file, rescue_name, set_meta, sync_folder
from edge.buffer.outbox import Outbox
from edge.buffer.room import STEP_READINGS, give_up
from edge.buffer.rows import Backlog, Loss, Rejected
from edge.buffer.segments import DamagedSegment
from edge.buffer.tables import ID_STEP, insert_frames, insert_loss, insert_notes, insert_rejected, insert_segment
from edge.clock import Clock
from edge.errors import BufferDamaged, BufferUnwritable
from edge.reading import Delivery, Reading

_LOG = structlog.get_logger("edge.buffer")
REJECTED_ROWS, PAYLOAD_BYTES = 1_000, 16_384
"""How many messages that could not be read are kept, the newest, and how much of each."""
# Garbage is not to push readings out: its share of the room.
_REJECTED_SHARE = 0.1
_MOST_STEPS = 20
# Pages without content are given back when they are that many bytes, and what is left is a small part of the file.
_WORTH_GIVING_BACK = 16 * 2**20
_LIVE_SPAN_US = 10_000_000
# Runs of segments that are nearer than this are one to whoever asks for the times of the backlog.
_SAME_SPAN_US = 1_000_000

_Result = TypeVar("_Result")


class Limits:
    """What the buffer may take: bytes of its own, what must stay free on the disk, and bytes of raw frames."""

    def __init__(self, *, max_bytes: int, min_free_bytes: int = 0, frames_bytes: int = 0) -> None:
        self.max_bytes, self.min_free_bytes, self.frames_bytes = max_bytes, min_free_bytes, frames_bytes


class Store:
    """The buffer at `path`. `open` it first, and again after BufferDamaged or where BufferUnwritable says so.

    There is only one process at a file, by the caller. `truth` gives the wall time less the monotonic time of the
    running boot, None while it is not known: until then nothing of that boot is cut. `media_type` is the form in which
    batches are made. While `want_live` is set, the next commit cuts the live lane in the same transaction.
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
        self.want_live = False
        self.newest_us: int | None = None
        self._path, self._clock, self._limits, self._mount = path, clock, limits, mount
        self._boot_id, self._truth = boot_id, truth
        self._live_span_us, self._live_readings = live_span_us, live_readings
        self._thread = Thread()
        self._db: sqlite3.Connection | None = None
        self._outbox = Outbox(stream_id=0, stream="", next_seq=1, cuts=())
        self._boots: dict[int, int | None] = {}
        self._boot = 0
        self._next_id = ID_STEP
        self._kept = self._kept_bytes = 0
        self._inodes: tuple[object, ...] = (None, None)
        self._confirmation: tuple[list[tuple[int, int]], int, int] | None = None
        # Receipts that came and are not written down yet: the next transaction does.
        self._receipts: dict[int, tuple[int, Receipt]] = {}

    @property
    def stream(self) -> str:
        return self._outbox.stream

    @property
    def next_seq(self) -> int:
        return self._outbox.next_seq

    @property
    def is_open(self) -> bool:
        return self._db is not None

    async def open(self) -> None:
        """Open the buffer, or begin one. Raises BufferUnwritable while the disk does not allow it, BufferFormat."""
        await self._thread.run(self._open)

    async def close(self) -> None:
        """Write down the receipts that wait, and close. The store is not used afterwards."""
        try:
            if self._db is not None and self._receipts:
                await self._change(lambda _: None)
        except BufferUnwritable as error:
            _LOG.info("receipts not written down; their batches are sent again", reason=str(error))
        await self._thread.run(self._close)
        self._thread.end()

    def _close(self) -> None:
        if self._db is not None:
            closed(self._db)
        self._db = None

    def _open(self) -> None:
        self._rescue()
        self._close()
        db = open_file(self._path, mount=self._mount, now_us=self._clock.now_us())
        try:
            change(db, lambda: self._begin(db))
            look(lambda: self._load(db))
            self._inodes = self._there()
        except BaseException:
            closed(db)
            raise
        self._db = db

    def _there(self) -> tuple[object, ...]:
        """Which files are at the path of the buffer, and of its log."""
        return tuple(_inode(self._path.with_name(self._path.name + suffix)) for suffix in ("", "-wal"))

    def _rescue(self) -> None:
        """Copy the open file where another is at its path, or none. Raises BufferUnwritable; it stays open then."""
        if self._db is None or self._there()[0] == self._inodes[0]:
            return
        if self._mount is not None and not os.path.ismount(self._mount):
            return
        copy = rescue_name(self._path, self._clock.now_us())
        try:
            look(lambda: self._connection().execute("VACUUM INTO ?", (str(copy),)))
            _on_disk(copy)
        except (BufferDamaged, OSError) as error:
            _LOG.error("the buffer was taken away, and cannot be copied", reason=str(error))
        except BufferUnwritable as error:
            copy.unlink(missing_ok=True)
            raise BufferUnwritable(error.reason, reopen=True) from error
        else:
            _LOG.error("the buffer was taken away; what it held goes into a new one", file=str(self._path))
        # SQLite leaves the log of a file that is not there any more: it is not for the file that has come instead.
        log = self._path.with_name(self._path.name + "-wal")
        self._close()
        if _inode(log) == self._inodes[1]:
            log.unlink(missing_ok=True)

    def _begin(self, db: sqlite3.Connection) -> None:
        row = (self._boot_id, self._clock.now_us())
        db.execute("INSERT INTO boot (boot_id, seen_us) VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        [[self._boot]] = db.execute("SELECT id FROM boot WHERE boot_id = ?", (self._boot_id,))
        # Boots of which nothing is left.
        db.execute("DELETE FROM boot WHERE id <> ? AND id NOT IN (SELECT DISTINCT boot FROM segment)", (self._boot,))

    def _load(self, db: sqlite3.Connection) -> None:
        self._receipts.clear()
        self._confirmation = None
        self._outbox = Outbox.load(db)
        self._boots = _boots(db)
        self._count(db)
        [[newest_id]] = db.execute("SELECT coalesce(max(id), 0) FROM segment")
        [[cut_id]] = db.execute("SELECT coalesce(max(last_id), 0) FROM batch")
        self._next_id = (max(newest_id, cut_id) // ID_STEP + 1) * ID_STEP
        [[in_segment]] = db.execute("SELECT max(last_us) FROM segment")
        [[in_batch]] = db.execute("SELECT max(last_us) FROM batch")
        known = [time_us for time_us in (in_segment, in_batch) if time_us]
        self.newest_us = max(known) if known else None

    def _count(self, db: sqlite3.Connection) -> None:
        [(self._kept, self._kept_bytes)] = db.execute(
            "SELECT coalesce(sum(readings), 0), coalesce(sum(length(body)), 0) FROM segment"
        )

    async def _change(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """`work` and the receipts that wait, all or nothing. Raises BufferUnwritable, BufferDamaged."""
        receipts, confirmation = dict(self._receipts), self._confirmation
        truth = self._truth()

        def all_of_it(db: sqlite3.Connection) -> _Result:
            self._vouch(db, truth)
            self._outbox.receive(db, receipts)
            if confirmation is not None:
                self._confirm(db, *confirmation)
            return work(db)

        result = await self._thread.run(partial(self._changed, all_of_it))
        if self._confirmation is confirmation:
            self._confirmation = None
        for seq, written in receipts.items():
            if self._receipts.get(seq) is written:
                del self._receipts[seq]
        return result

    def _changed(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        db = self._connection()

        def all_of_it() -> _Result:
            result = work(db)
            if self._outbox.dropped:
                self._outbox.dropped = False
                self._count(db)
            return result

        try:
            return change(db, all_of_it)
        except BaseException:
            # Nothing of it happened: what was noted beside the file is read from it again.
            self._reload(db)
            raise

    def _reload(self, db: sqlite3.Connection) -> None:
        try:
            self._outbox = Outbox.load(db)
            self._boots = _boots(db)
            self._count(db)
        except sqlite3.Error as error:
            _LOG.warning("the buffer is opened anew", reason=str(error))
            self._close()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise BufferUnwritable("it is not open", reopen=True)
        return self._db

    async def _look(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        return await self._thread.run(lambda: look(lambda: work(self._connection())))

    def _vouch(self, db: sqlite3.Connection, truth: int | None) -> None:
        """Note what the running boot's true time is; a clock's slow change is not worth a write."""
        before = self._boots.get(self._boot)
        if truth is None or (before is not None and abs(before - truth) < 100_000):
            return
        db.execute("UPDATE boot SET offset_us = ? WHERE id = ?", (truth, self._boot))
        self._boots[self._boot] = truth

    async def commit(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int = 0,
        rejected: Sequence[Rejected] = (),
        deliveries: Sequence[Delivery] = (),
        losses: Sequence[Loss] = (),
        notes: Sequence[Note] = (),
        frames: Sequence[tuple[str, int, bytes]] = (),
    ) -> None:
        """Keep all of it, in one transaction. Raises BufferUnwritable, BufferDamaged; then nothing of it is kept.

        `offset_us` is the wall clock less the monotonic one when the readings were stamped.
        """
        now_us, live = self._clock.now_us(), self.want_live

        def work(db: sqlite3.Connection) -> bool:
            if readings:
                size = insert_segment(db, self._next_id, readings, boot=self._boot, offset_us=offset_us)
                self._next_id += ID_STEP
                self._kept, self._kept_bytes = self._kept + len(readings), self._kept_bytes + size
            if rejected:
                held_bytes = round(self._limits.max_bytes * _REJECTED_SHARE)
                insert_rejected(db, rejected, rows=REJECTED_ROWS, held_bytes=held_bytes)
            if deliveries:
                keep(db, deliveries)
            for loss in losses:
                insert_loss(db, loss, now_us)
            insert_notes(db, notes)
            if frames:
                insert_frames(db, frames, held_bytes=self._limits.frames_bytes)
            return live and self._cut_live(db, self._live_readings, now_us)

        if await self._change(work):
            self.want_live = False

    async def deliveries(self) -> list[Delivery]:
        """The newest committed deliveries of every client."""
        return await self._look(kept)

    def _cut_live(self, db: sqlite3.Connection, max_readings: int, now_us: int) -> bool:
        return self._outbox.cut_live(
            db,
            truth=self._boots,
            running=self._boot,
            media_type=self.media_type,
            max_readings=max_readings,
            span_us=self._live_span_us,
            now_us=now_us,
        )

    async def cut_live(self, max_readings: int) -> bool:
        """Cut what is newest and in no batch, notes alone too; False when there is nothing."""
        now_us = self._clock.now_us()
        return await self._change(lambda db: self._cut_live(db, max_readings, now_us))

    async def cut_backlog(self, max_readings: int, count: int) -> int:
        """Cut up to `count` batches of the oldest readings that are in none; how many there were.

        Without any, nothing is written.
        """
        if not await self._look(lambda db: self._outbox.has_backlog(db, truth=self._boots, running=self._boot)):
            return 0
        now_us = self._clock.now_us()

        def work(db: sqlite3.Connection) -> int:
            return self._outbox.cut_backlog(
                db,
                truth=self._boots,
                running=self._boot,
                media_type=self.media_type,
                max_readings=max_readings,
                count=count,
                now_us=now_us,
            )

        return await self._change(work)

    async def outstanding(self, lane: Lane, limit: int = 1, *, without: Collection[int] = ()) -> list[CutBatch]:
        """Batches of `lane` without a receipt, the oldest first: at most `limit`, none that is numbered in `without`.

        One that cannot be made any more as it was cut is emptied, and what is left of it is cut anew.
        """
        while True:
            got = {*self._receipts, *without}
            found, damaged = await self._look(partial(self._made, lane=lane, limit=limit, got=got))
            if not damaged:
                return found
            for seq, reason in damaged.items():
                _LOG.error("batch damaged, cut anew", seq=seq, reason=reason)
            await self._change(partial(self._repair, seqs=damaged, now_us=self._clock.now_us()))

    def _made(
        self, db: sqlite3.Connection, *, lane: Lane, limit: int, got: Collection[int]
    ) -> tuple[list[CutBatch], dict[int, str]]:
        """Batches that wait, and what is wrong with those that cannot be made."""
        waiting = [cut for cut in self._outbox.outstanding(lane, limit + len(got)) if cut.seq not in got]
        found, damaged = [], {}
        for cut in waiting[:limit]:
            try:
                found.append(made(db, cut, stream_id=self._outbox.stream_id, stream=self._outbox.stream))
            except DamagedSegment as error:
                damaged[cut.seq] = str(error)
        return found, damaged

    def _repair(self, db: sqlite3.Connection, *, seqs: Iterable[int], now_us: int) -> None:
        for seq in seqs:
            if seq in self._outbox.cuts:
                self._outbox.repair(db, seq, now_us)
        self._boots = _boots(db)

    def _got(self, cut: Cut) -> bool:
        return cut.delivered or cut.seq in self._receipts

    async def settle(self, receipt: Receipt) -> bool:
        """Note the receipt, to be written down with the next transaction; False when it matches no batch that waits."""
        cut = self._outbox.cuts.get(receipt.seq)
        if cut is None or receipt.stream != self.stream or receipt.sha256 != cut.sha256.hex() or self._got(cut):
            return False
        self._receipts[receipt.seq] = (self._clock.now_us(), receipt)
        return True

    async def confirm(self, received: list[tuple[int, int]], *, keep_s: float, asked_us: int) -> int:
        """Delete what the receiver still has `keep_s` after its receipt; what it lost is outstanding again: how many.

        It was asked at `asked_us`: what it got later is not among `received`. Deleting waits for the next transaction.
        """
        now_us = self._clock.now_us()
        self._confirmation = (received, asked_us, now_us - round(keep_s * 1e6))
        noted = {seq: receipt_us for seq, (receipt_us, _) in self._receipts.items()}
        lost = await self._look(lambda _: self._outbox.lost(received, asked_us=asked_us, now_us=now_us, noted=noted))
        if lost:
            await self._change(lambda _: None)
        return len(lost)

    def _confirm(self, db: sqlite3.Connection, received: list[tuple[int, int]], asked_us: int, before_us: int) -> None:
        now_us = self._clock.now_us()
        self._deleted(db, self._outbox.confirm(db, received, asked_us=asked_us, before_us=before_us, now_us=now_us))

    def _deleted(self, db: sqlite3.Connection, cuts: Sequence[Cut]) -> None:
        if cuts:
            before = meta(db, "synced_readings")
            synced = sum(cut.readings for cut in cuts)
            set_meta(db, "synced_readings", synced + (before if isinstance(before, int) else 0))
        self._kept -= sum(cut.kept for cut in cuts)
        self._kept_bytes -= sum(cut.size for cut in cuts)

    def lowest_unconfirmed(self) -> int | None:
        """The number from which to ask the receiver what it has; None when all is confirmed."""
        return min(self._outbox.cuts, default=None)

    async def set_back(self, seq: int) -> None:
        """Send batch `seq` with the backlog."""
        await self._change(lambda db: self._outbox.set_back(db, seq))

    async def refuse(self, seq: int, *, status: int, reason: str) -> int:
        """The receiver will not have batch `seq`: its halves are cut anew. How many readings were set aside, alone."""
        now_us = self._clock.now_us()

        def work(db: sqlite3.Connection) -> int:
            alone = self._outbox.refuse(
                db, seq, status=status, reason=reason, media_type=self.media_type, now_us=now_us
            )
            self._count(db)
            return alone

        return await self._change(work)

    async def renumber(self, reason: str) -> None:
        """Begin a new stream; everything that is not confirmed is cut anew under it."""
        now_us, before = self._clock.now_us(), self.stream

        def work(db: sqlite3.Connection) -> None:
            self._outbox.renumber(db, now_us)
            self._boots = _boots(db)

        await self._change(work)
        self._receipts.clear()
        _LOG.warning("a new stream begins", reason=reason, before=before, stream=self.stream)

    async def used_bytes(self) -> int:
        """Bytes of the file's pages that hold something."""
        used, _ = await self._look(_pages)
        return used

    async def make_room(self) -> list[Loss]:
        """Give up some of the oldest until the bounds hold, or for as long as a commit may wait; none when they hold.

        Every loss is recorded, and the newest readings are never given up. What has a receipt goes first.
        """
        losses: list[Loss] = []
        for _ in range(_MOST_STEPS):
            if not await self._look(self._is_full):
                break
            step = await self._change(self._give_up)
            if step is None:
                break
            losses += step
        await self._thread.run(self._give_back)
        return losses

    def _give_up(self, db: sqlite3.Connection) -> list[Loss] | None:
        """One step; None when nothing is left that may go."""
        now_us = self._clock.now_us()
        if released := self._outbox.release(db, readings=STEP_READINGS, now_us=now_us):
            self._deleted(db, released)
            return []
        losses = give_up(db, self._limits.max_bytes, list(self._outbox.uncut()))
        for loss in losses or ():
            insert_loss(db, loss, now_us)
        self._count(db)
        return losses

    def _is_full(self, db: sqlite3.Connection) -> bool:
        used, empty = _pages(db)
        if used > self._limits.max_bytes:
            return True
        disk = os.statvfs(self._path.parent)
        # Empty pages of the file are room as well; a file of next to nothing is not what fills the disk.
        room = disk.f_bavail * disk.f_frsize + empty
        return room < self._limits.min_free_bytes and used > 2**20

    def _give_back(self) -> None:
        """Shrink a file that is mostly empty; rewriting what is left costs less than it gives."""
        db = self._connection()
        used, empty = look(lambda: _pages(db))
        if empty > _WORTH_GIVING_BACK and used < empty / 4:
            try:
                look(lambda: db.execute("VACUUM"))
                look(lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
            except BufferUnwritable as error:
                # It needs room for a copy of what is left. The file is as good as before.
                _LOG.info("the buffer's file does not shrink", reason=error.reason)

    async def check(self) -> None:
        """Whether the file is still the one at its path. Raises BufferUnwritable when it was taken away."""
        await self._thread.run(self._check)

    def _check(self) -> None:
        if self._mount is not None and not os.path.ismount(self._mount):
            raise BufferUnwritable(f"nothing is mounted at {self._mount}", reopen=True)
        if self._there() != self._inodes:
            raise BufferUnwritable(f"{self._path} was taken away or replaced", reopen=True)

    async def backlog(self) -> Backlog:
        """What has no receipt."""
        return await self._look(partial(self._backlog, got=set(self._receipts)))

    def _backlog(self, db: sqlite3.Connection, *, got: Collection[int]) -> Backlog:
        delivered = [cut for cut in self._outbox.cuts.values() if cut.delivered or cut.seq in got]
        return Backlog(
            self._kept - sum(cut.kept for cut in delivered),
            self._kept_bytes - sum(cut.size for cut in delivered),
            min((first_us for first_us, _ in self._waiting(db, got=got)), default=None),
        )

    async def backlog_spans(self, limit: int = 32) -> list[tuple[int, int]]:
        """The times of what has no receipt, ascending and disjoint; the nearest are told as one beyond `limit`."""
        merged: list[tuple[int, int]] = []
        for first_us, last_us in sorted(await self._look(partial(self._waiting, got=set(self._receipts)))):
            if merged and first_us <= merged[-1][1] + _SAME_SPAN_US:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last_us))
            else:
                merged.append((first_us, last_us))
        while len(merged) > limit:
            nearest = min(range(1, len(merged)), key=lambda place: merged[place][0] - merged[place - 1][1])
            merged[nearest - 1 : nearest + 1] = [(merged[nearest - 1][0], merged[nearest][1])]
        return merged

    def _waiting(self, db: sqlite3.Connection, *, got: Collection[int]) -> list[tuple[int, int]]:
        """First and last time of each run of segments without a receipt."""
        spans = [
            (cut.first_us, cut.last_us)
            for cut in self._outbox.cuts.values()
            if cut.segments and not cut.delivered and cut.seq not in got
        ]
        for first, last in self._outbox.uncut():
            ids = (first, 2**63 - 1 if last is None else last)
            sql = "SELECT {} FROM segment WHERE id BETWEEN ? AND ? ORDER BY id {} LIMIT 1"
            oldest = db.execute(sql.format("first_us", ""), ids).fetchone()
            newest = db.execute(sql.format("last_us", "DESC"), ids).fetchone()
            if oldest and newest:
                spans.append((min(oldest[0], newest[0]), max(oldest[0], newest[0])))
        return spans


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _boots(db: sqlite3.Connection) -> dict[int, int | None]:
    """The true offset of each boot, where it is known."""
    rows = db.execute("SELECT id, offset_us FROM boot")
    return {row_id: offset_us if isinstance(offset_us, int) else None for row_id, offset_us in rows}


def _on_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(path.parent)


def _pages(db: sqlite3.Connection) -> tuple[int, int]:
    """Bytes of pages with content, and without."""
    [[size]], [[count]], [[empty]] = (
        db.execute(f"PRAGMA {name}").fetchall() for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (count - empty), size * empty
