"""Which readings go in which batch, and what has become of it. Everything here runs inside its caller's transaction."""

import hashlib
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from contract.codec import PACKED, compress
from contract.notes import NoteKind
from contract.receipt import Receipt
from edge.buffer.batches import ENCODING, Content, Cut, Lane, content
from edge.buffer.rows import Loss
from edge.buffer.segments import DamagedSegment, pack, span, unpack
from edge.buffer.tables import ID_STEP, insert_loss, insert_segment, notes_of

_COLUMNS = (
    "seq",
    "lane",
    "first_id",
    "last_id",
    "true_us",
    "readings",
    "first_us",
    "last_us",
    "sha256",
    "media_type",
    "receipt_us",
    "receipt",
)
_MOST_NOTES = 500
# Confirmed batches that are still known, for who asks what became of a reading.
_HISTORY = 2_000
_STREAM_STEP = 1 << 40


class Outbox:
    """The batches of the current stream that are not confirmed. `truth` is the true offset of each boot, by its id."""

    def __init__(self, *, stream_id: int, stream: str, next_seq: int, cuts: Iterable[Cut]) -> None:
        self.stream_id, self.stream, self.next_seq = stream_id, stream, next_seq
        self.cuts = {cut.seq: cut for cut in cuts}

    @classmethod
    def load(cls, db: sqlite3.Connection) -> "Outbox":
        stream_id, stream = db.execute("SELECT id, name FROM stream ORDER BY id DESC LIMIT 1").fetchone()
        [[last]] = db.execute("SELECT coalesce(max(seq), 0) FROM batch WHERE id > ?", (stream_id * _STREAM_STEP,))
        sql = f"SELECT {', '.join(_COLUMNS)} FROM batch WHERE id > ? AND confirmed_us IS NULL"
        rows = db.execute(sql, (stream_id * _STREAM_STEP,))
        cuts = []
        for row in rows:
            cut = Cut(**dict(zip(_COLUMNS, row, strict=True)), kept=0, size=0)
            cut.lane = Lane(cut.lane)
            cut.kept, cut.size = _extent(db, cut.segments)
            cuts.append(cut)
        return cls(stream_id=stream_id, stream=stream, next_seq=last + 1, cuts=cuts)

    def outstanding(self, lane: Lane, limit: int) -> list[Cut]:
        """Batches without a receipt, the oldest number first."""
        found = (cut for _, cut in sorted(self.cuts.items()) if cut.lane is lane and not cut.delivered)
        return [cut for _, cut in zip(range(limit), found, strict=False)]

    def covered(self) -> list[tuple[int, int]]:
        """Inclusive ranges of the ids of segments that are in a batch, ascending."""
        return sorted(cut.segments for cut in self.cuts.values() if cut.segments is not None)

    def uncut(self) -> Iterator[tuple[int, int | None]]:
        """Where segments that are in no batch can be: first and last possible id, ascending, the last one open."""
        first = 0
        for begin, end in self.covered():
            if begin > first:
                yield first, begin - 1
            first = max(first, end + 1)
        yield first, None

    def cut_live(
        self,
        db: sqlite3.Connection,
        *,
        truth: Mapping[int, int | None],
        running: int,
        media_type: str,
        max_readings: int,
        span_us: int,
        now_us: int,
    ) -> bool:
        """Cut the newest readings, `span_us` of them at most; what is older is left to the backlog. False without any.

        Nothing of the boot `running` is cut while its true time is not known.
        """
        *_, (first, _) = self.uncut()
        chosen: list[tuple[int, int, int, int]] = []
        readings = 0
        sql = "SELECT id, boot, readings, last_us FROM segment WHERE id >= ? ORDER BY id DESC"
        for row in db.execute(sql, (first,)):
            row_id, boot, count, last_us = row
            if chosen and (boot != chosen[0][1] or readings + count > max_readings or chosen[0][3] - last_us > span_us):
                break
            if boot == running and truth.get(boot) is None:
                return False
            chosen.append((row_id, boot, count, last_us))
            readings += count
        if not chosen and not self._has_notes(db, media_type):
            return False
        ids = (chosen[-1][0], chosen[0][0]) if chosen else None
        true_us = truth.get(chosen[0][1]) if chosen else None
        self._cut(db, Lane.LIVE, ids=ids, true_us=true_us, media_type=media_type, now_us=now_us)
        return True

    def cut_backlog(
        self,
        db: sqlite3.Connection,
        *,
        truth: Mapping[int, int | None],
        running: int,
        media_type: str,
        max_readings: int,
        count: int,
        now_us: int,
    ) -> int:
        """Cut up to `count` batches of the oldest readings before the newest batch; how many there were."""
        done = 0
        for first, last in list(self.uncut()):
            if last is None:
                break
            while done < count:
                ids, boot = self._oldest(db, first, last, max_readings)
                if ids is None or (boot == running and truth.get(boot) is None):
                    break
                self._cut(db, Lane.BACKLOG, ids=ids, true_us=truth.get(boot), media_type=media_type, now_us=now_us)
                first = ids[1] + 1
                done += 1
        return done

    def _oldest(
        self, db: sqlite3.Connection, first: int, last: int, max_readings: int
    ) -> tuple[tuple[int, int] | None, int]:
        """Ids of the oldest segments of one boot between the two, as many readings as a batch may have."""
        ids: list[int] = []
        readings, of_boot = 0, 0
        sql = "SELECT id, boot, readings FROM segment WHERE id BETWEEN ? AND ? ORDER BY id"
        for row_id, boot, count in db.execute(sql, (first, last)):
            if ids and (boot != of_boot or readings + count > max_readings):
                break
            ids.append(row_id)
            readings, of_boot = readings + count, boot
        return ((ids[0], ids[-1]) if ids else None), of_boot

    def _has_notes(self, db: sqlite3.Connection, media_type: str) -> bool:
        return (
            media_type == PACKED and db.execute("SELECT 1 FROM note WHERE seq IS NULL LIMIT 1").fetchone() is not None
        )

    def _cut(
        self,
        db: sqlite3.Connection,
        lane: Lane,
        *,
        ids: tuple[int, int] | None,
        true_us: int | None,
        media_type: str,
        now_us: int,
        with_notes: bool = True,
    ) -> Cut:
        """A batch of the segments in `ids`, with the notes that wait. Damaged segments are recorded, and gone."""
        seq = self.next_seq
        if with_notes and media_type == PACKED:
            db.execute(
                "UPDATE note SET stream = ?, seq = ? WHERE id IN "
                "(SELECT id FROM note WHERE seq IS NULL ORDER BY id LIMIT ?)",
                (self.stream_id, seq, _MOST_NOTES),
            )
        found = content(db, ids=ids, true_us=true_us, notes=notes_of(db, self.stream_id, seq))
        drop_damaged(db, found.damaged, now_us)
        return self._number(db, lane, found, ids=ids, true_us=true_us, media_type=media_type, now_us=now_us)

    def _number(
        self,
        db: sqlite3.Connection,
        lane: Lane,
        found: Content,
        *,
        ids: tuple[int, int] | None,
        true_us: int | None,
        media_type: str,
        now_us: int,
    ) -> Cut:
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        body = found.encoded(stream=self.stream, seq=seq, media_type=media_type)
        sha256 = hashlib.sha256(body).digest()
        first_id, last_id = ids or (None, None)
        kept, size = _extent(db, ids)
        cut = Cut(
            seq=seq,
            lane=lane,
            first_id=first_id,
            last_id=last_id,
            true_us=true_us,
            readings=found.readings,
            first_us=found.span[0],
            last_us=found.span[1],
            sha256=sha256,
            media_type=media_type,
            kept=kept,
            size=size,
            body=compress(body, ENCODING),
        )
        self.cuts[seq] = cut
        db.execute(
            "INSERT INTO batch (id, stream, seq, lane, first_id, last_id, true_us, readings, first_us, last_us, "
            "sha256, media_type, cut_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._row_id(seq),
                self.stream_id,
                seq,
                int(lane),
                first_id,
                last_id,
                true_us,
                cut.readings,
                *found.span,
                sha256,
                media_type,
                now_us,
            ),
        )
        return cut

    def receive(self, db: sqlite3.Connection, receipts: Mapping[int, tuple[int, Receipt]]) -> None:
        """Write down receipts, by sequence number, with when they came."""
        for seq, (receipt_us, receipt) in receipts.items():
            if (cut := self.cuts.get(seq)) is not None:
                # What says nothing but that all of it is stored is not worth its bytes.
                plain = receipt.stored == cut.readings and not receipt.quarantined
                cut.receipt = None if plain else msgspec.json.encode(receipt).decode()
                cut.receipt_us, cut.body = receipt_us, None
                self._update(db, seq, receipt_us=receipt_us, receipt=cut.receipt)

    def lost(self, received: list[tuple[int, int]], asked_us: int) -> list[Cut]:
        """Batches whose receipt came before `asked_us`, and that the receiver does not have now."""
        return [
            cut
            for cut in self.cuts.values()
            if cut.receipt_us is not None
            and cut.receipt_us <= asked_us
            and not any(first <= cut.seq <= last for first, last in received)
        ]

    def confirm(
        self, db: sqlite3.Connection, received: list[tuple[int, int]], *, asked_us: int, before_us: int, now_us: int
    ) -> list[Cut]:
        """What the receiver still has, with a receipt from before `before_us`, is deleted, and returned.

        What it has lost is outstanding again.
        """
        for cut in self.lost(received, asked_us):
            cut.receipt_us = cut.receipt = None
            self._update(db, cut.seq, receipt_us=None, receipt=None)
        confirmed = [
            cut
            for cut in self.cuts.values()
            if cut.receipt_us is not None and cut.receipt_us <= min(asked_us, before_us)
        ]
        for cut in confirmed:
            if cut.segments is not None:
                db.execute("DELETE FROM segment WHERE id BETWEEN ? AND ?", cut.segments)
            db.execute("DELETE FROM note WHERE stream = ? AND seq = ?", (self.stream_id, cut.seq))
            self._update(db, cut.seq, confirmed_us=now_us)
            del self.cuts[cut.seq]
        if confirmed:
            oldest = self._row_id(self.next_seq) - _HISTORY
            db.execute("DELETE FROM batch WHERE id < ? AND confirmed_us IS NOT NULL", (oldest,))
        return confirmed

    def refuse(self, db: sqlite3.Connection, seq: int, *, status: int, reason: str, now_us: int) -> int:
        """The receiver will not have batch `seq`: what was in it is cut anew, in halves; alone, it is set aside.

        The number itself is sent empty, so that none is missing. Returns how many readings were set aside.
        """
        cut = self.cuts[seq]
        ids, with_notes = cut.segments, bool(notes_of(db, self.stream_id, seq))
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE stream = ? AND seq = ?", (self.stream_id, seq))
        self.void(db, seq)
        if with_notes and ids is None:
            # Not one word of it is understood over there: it would come back for ever.
            db.execute("DELETE FROM note WHERE seq IS NULL")
            return 0
        if ids is None:
            return 0
        parts = [ids] if with_notes else list(self._halves(db, ids))
        if parts == [ids] and not with_notes:
            return self._set_aside(db, ids[0], status=status, reason=reason, now_us=now_us)
        for part in parts:
            options = {"true_us": cut.true_us, "media_type": cut.media_type, "now_us": now_us}
            self._cut(db, cut.lane, ids=part, with_notes=False, **options)  # type: ignore[arg-type]
        if with_notes:
            self._cut(db, cut.lane, ids=None, true_us=None, media_type=cut.media_type, now_us=now_us)
        return 0

    def _halves(self, db: sqlite3.Connection, ids: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """The two halves of `ids`; a single segment is split for it, one with a single reading stays whole."""
        rows = db.execute("SELECT id, readings FROM segment WHERE id BETWEEN ? AND ? ORDER BY id", ids).fetchall()
        if len(rows) == 1:
            yield from ((part, part) for part in _split(db, rows[0][0]))
            return
        half, total = 0, sum(count for _, count in rows)
        for place, (row_id, count) in enumerate(rows[:-1]):
            half += count
            if 2 * half >= total or place == len(rows) - 2:
                yield ids[0], row_id
                yield rows[place + 1][0], ids[1]
                return

    def _set_aside(self, db: sqlite3.Connection, row_id: int, *, status: int, reason: str, now_us: int) -> int:
        [[body]] = db.execute("SELECT body FROM segment WHERE id = ?", (row_id,))
        try:
            readings = unpack(body)
        except DamagedSegment:
            drop_damaged(db, [row_id], now_us)
            return 0
        db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
        for reading in readings:
            db.execute(
                "INSERT INTO refused (device, time_us, body, status, reason, refused_us) VALUES (?, ?, ?, ?, ?, ?)",
                (reading.device, reading.time_us, pack([reading]), status, reason, now_us),
            )
        loss = Loss(f"refused: {reason}"[:500], len(readings), *span(readings), NoteKind.REFUSED)
        insert_loss(db, loss, now_us)
        return len(readings)

    def void(self, db: sqlite3.Connection, seq: int) -> None:
        """Batch `seq` has nothing in it any more; its segments are in no batch."""
        cut = self.cuts[seq]
        empty = Content([], [], []).encoded(stream=self.stream, seq=seq, media_type=cut.media_type)
        cut.sha256, cut.body = hashlib.sha256(empty).digest(), compress(empty, ENCODING)
        cut.first_id = cut.last_id = cut.true_us = None
        cut.readings = cut.kept = cut.size = cut.first_us = cut.last_us = 0
        self._update(
            db, seq, first_id=None, last_id=None, true_us=None, readings=0, first_us=0, last_us=0, sha256=cut.sha256
        )

    def repair(self, db: sqlite3.Connection, seq: int, now_us: int) -> None:
        """Batch `seq` cannot be made any more as it was cut: what is left of it goes in another."""
        cut = self.cuts[seq]
        found = content(db, ids=cut.segments, true_us=cut.true_us, notes=[])
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE stream = ? AND seq = ?", (self.stream_id, seq))
        self.void(db, seq)
        drop_damaged(db, found.damaged, now_us)

    def renumber(self, db: sqlite3.Connection, now_us: int) -> None:
        """A new stream: everything that is not confirmed is cut anew under it."""
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE seq IS NOT NULL")
        db.execute("DELETE FROM batch WHERE stream = ? AND confirmed_us IS NULL", (self.stream_id,))
        self.stream_id, self.next_seq, self.cuts = begin_stream(db, now_us), 1, {}
        [[self.stream]] = db.execute("SELECT name FROM stream WHERE id = ?", (self.stream_id,))

    def _update(self, db: sqlite3.Connection, seq: int, **values: object) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        db.execute(f"UPDATE batch SET {names} WHERE id = ?", (*values.values(), self._row_id(seq)))

    def _row_id(self, seq: int) -> int:
        return self.stream_id * _STREAM_STEP + seq


def _extent(db: sqlite3.Connection, ids: tuple[int, int] | None) -> tuple[int, int]:
    """Readings of the segments in `ids`, and bytes of their bodies."""
    sql = "SELECT coalesce(sum(readings), 0), coalesce(sum(length(body)), 0) FROM segment WHERE id BETWEEN ? AND ?"
    readings, size = db.execute(sql, ids or (0, -1)).fetchone()
    return readings, size


def begin_stream(db: sqlite3.Connection, now_us: int) -> int:
    """A new identity; its id."""
    cursor = db.execute("INSERT INTO stream (name, began_us) VALUES (?, ?)", (str(uuid.uuid4()), now_us))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def drop_damaged(db: sqlite3.Connection, ids: Iterable[int], now_us: int) -> None:
    """Segments that cannot be read any more are gone, and recorded."""
    for row_id in ids:
        [(readings, first_us, last_us)] = db.execute(
            "SELECT readings, first_us, last_us FROM segment WHERE id = ?", (row_id,)
        )
        db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
        insert_loss(db, Loss("damaged on the disk", readings, first_us, last_us, NoteKind.DAMAGED), now_us)


def _split(db: sqlite3.Connection, row_id: int) -> list[int]:
    """Make two segments of one; their ids. One id only where there is no room for another."""
    [(boot, offset_us, level, body)] = db.execute(
        "SELECT boot, offset_us, level, body FROM segment WHERE id = ?", (row_id,)
    )
    end = (row_id // ID_STEP + 1) * ID_STEP
    [[follows]] = db.execute("SELECT coalesce(min(id), ?) FROM segment WHERE id > ?", (end, row_id))
    other = (row_id + min(end, follows)) // 2
    if other == row_id:
        return [row_id]
    try:
        readings = unpack(body)
    except DamagedSegment:
        return [row_id]
    if len(readings) == 1:
        return [row_id]
    half = len(readings) // 2
    db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
    for part_id, part in ((row_id, readings[:half]), (other, readings[half:])):
        insert_segment(db, part_id, part, boot=boot, offset_us=offset_us, level=level)
    return [row_id, other]
