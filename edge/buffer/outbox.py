"""Which readings go in which batch, and what has become of it. Everything here runs inside its caller's transaction."""

import hashlib
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from contract.codec import MEDIA_TYPES, PACKED, compress
from contract.notes import Note, NoteKind
from contract.receipt import Receipt
from edge.buffer.batches import ENCODING, Content, Cut, Lane, content
from edge.buffer.rows import Loss
from edge.buffer.segments import DamagedSegment, pack, span, unpack
from edge.buffer.tables import ID_STEP, decoded_note, insert_loss, insert_segment, note_corrected
from edge.buffer.truth import hold

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
    # A text that is no text any more is not to keep the buffer from being opened.
    "CAST(media_type AS BLOB)",
    "receipt_us",
)
_MOST_NOTES = 500
# Confirmed batches that are still known, for who asks what became of a reading.
_HISTORY = 2_000
_STREAM_STEP = 1 << 40
_LAST_ID = 2**63 - 1


class Outbox:
    """The batches of the current stream that are not confirmed. `truth` is the true offset of each boot, by its id.

    `dropped` is set when segments are found damaged, and are gone.
    """

    def __init__(self, *, stream_id: int, stream: str, next_seq: int, cuts: Iterable[Cut]) -> None:
        self.dropped = False
        self.stream_id, self.stream, self.next_seq = stream_id, stream, next_seq
        self.cuts = {cut.seq: cut for cut in cuts}

    @classmethod
    def load(cls, db: sqlite3.Connection) -> "Outbox":
        stream_id, stream = db.execute("SELECT id, name FROM stream ORDER BY id DESC LIMIT 1").fetchone()
        [[last]] = db.execute("SELECT coalesce(max(seq), 0) FROM batch WHERE id > ?", (stream_id * _STREAM_STEP,))
        sql = f"SELECT {', '.join(_COLUMNS)} FROM batch WHERE id > ? AND confirmed_us IS NULL"
        rows = db.execute(sql, (stream_id * _STREAM_STEP,))
        cuts = [_loaded(db, row) for row in rows]
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
        first = 1 + max((cut.last_id or 0 for cut in self.cuts.values()), default=0)
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
        ids = (chosen[-1][0], chosen[0][0]) if chosen else None
        true_us = truth.get(chosen[0][1]) if chosen else None
        return self._cut(db, Lane.LIVE, ids=ids, true_us=true_us, media_type=media_type, now_us=now_us)

    def has_backlog(self, db: sqlite3.Connection, *, truth: Mapping[int, int | None], running: int) -> bool:
        """Whether `cut_backlog` may find something."""
        sql = "SELECT 1 FROM segment WHERE id BETWEEN ? AND ? LIMIT 1"
        return any(db.execute(sql, ids).fetchone() for ids in self._behind(live=truth.get(running) is not None))

    def _behind(self, *, live: bool) -> list[tuple[int, int]]:
        """Where the backlog's segments can be. The newest are the live lane's, where that can go."""
        found = []
        for first, last in self.uncut():
            if last is not None:
                found.append((first, last))
            elif not live:
                # What is of earlier starts need not wait for the time of this one.
                found.append((first, _LAST_ID))
        return found

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
        for first, last in self._behind(live=truth.get(running) is not None):
            while done < count:
                ids, boot = self._oldest(db, first, last, max_readings)
                if ids is None or (boot == running and truth.get(boot) is None):
                    break
                done += self._cut(
                    db, Lane.BACKLOG, ids=ids, true_us=truth.get(boot), media_type=media_type, now_us=now_us
                )
                first = ids[1] + 1
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

    def _cut(
        self,
        db: sqlite3.Connection,
        lane: Lane,
        *,
        ids: tuple[int, int] | None,
        true_us: int | None,
        media_type: str,
        now_us: int,
        notes: Sequence[int] | None = None,
    ) -> bool:
        """A batch of the segments in `ids`, with notes of these ids, or those that wait. False when it were empty.

        Damaged segments are recorded, and gone.
        """
        found = content(db, ids=ids, true_us=true_us)
        self._drop(db, found.damaged, now_us)
        if notes is None and (corrected := found.corrected):
            note_corrected(db, corrected, found.span)
        if media_type == PACKED:
            found.notes = self._take_notes(db, notes)
        if not found.groups:
            ids = true_us = None
        if found.groups or found.notes:
            self._number(db, lane, found, ids=ids, true_us=true_us, media_type=media_type, now_us=now_us)
        return bool(found.groups or found.notes)

    def _take_notes(self, db: sqlite3.Connection, ids: Sequence[int] | None) -> list[Note]:
        """Notes of `ids`, or those that wait, for the next batch. What cannot be read any more is gone."""
        if ids is None:
            rows = db.execute("SELECT id, body FROM note WHERE seq IS NULL ORDER BY id LIMIT ?", (_MOST_NOTES,))
        else:
            rows = db.execute(f"SELECT id, body FROM note WHERE id IN ({', '.join(map(str, ids))}) ORDER BY id")
        taken = [(row_id, decoded_note(body)) for row_id, body in rows.fetchall()]
        db.executemany("DELETE FROM note WHERE id = ?", [(row_id,) for row_id, note in taken if note is None])
        db.executemany(
            "UPDATE note SET stream = ?, seq = ? WHERE id = ?",
            [(self.stream_id, self.next_seq, row_id) for row_id, note in taken if note is not None],
        )
        return [note for _, note in taken if note is not None]

    def _drop(self, db: sqlite3.Connection, ids: Iterable[int], now_us: int) -> None:
        """Segments that cannot be read any more are gone, and recorded."""
        for row_id in ids:
            [(readings, first_us, last_us)] = db.execute(
                "SELECT readings, first_us, last_us FROM segment WHERE id = ?", (row_id,)
            )
            db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
            insert_loss(db, Loss("damaged on the disk", readings, first_us, last_us, NoteKind.DAMAGED), now_us)
            self.dropped = True

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
    ) -> None:
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

    def receive(self, db: sqlite3.Connection, receipts: Mapping[int, tuple[int, Receipt]]) -> None:
        """Write down receipts, by sequence number, with when they came."""
        for seq, (receipt_us, receipt) in receipts.items():
            cut = self.cuts.get(seq)
            # It may have become another's number, or another batch, since the receipt came.
            if cut is not None and (receipt.stream, receipt.sha256) == (self.stream, cut.sha256.hex()):
                # What says nothing but that all of it is stored is not worth its bytes.
                plain = receipt.stored == cut.readings and not receipt.quarantined
                cut.receipt_us, cut.body = receipt_us, None
                text = None if plain else msgspec.json.encode(receipt).decode()
                self._update(db, seq, receipt_us=receipt_us, receipt=text)

    def lost(
        self,
        received: list[tuple[int, int]],
        *,
        asked_us: int,
        now_us: int,
        noted: Mapping[int, int] = MappingProxyType({}),
    ) -> list[Cut]:
        """Batches whose receipt came before `asked_us`, and that the receiver does not have now.

        A receipt of the future is from before the clock went back. `noted` says when those came that are not written
        down yet, by number.
        """
        found = []
        for cut in self.cuts.values():
            receipt_us = noted.get(cut.seq, cut.receipt_us)
            if receipt_us is None or asked_us < receipt_us <= now_us:
                continue
            if not any(first <= cut.seq <= last for first, last in received):
                found.append(cut)
        return found

    def confirm(
        self, db: sqlite3.Connection, received: list[tuple[int, int]], *, asked_us: int, before_us: int, now_us: int
    ) -> list[Cut]:
        """What the receiver still has, with a receipt from before `before_us`, is deleted, and returned.

        What it has lost is outstanding again, as backlog: what is newest does not wait for it.
        """
        for cut in self.lost(received, asked_us=asked_us, now_us=now_us):
            cut.receipt_us, cut.lane = None, Lane.BACKLOG
            self._update(db, cut.seq, receipt_us=None, receipt=None, lane=int(Lane.BACKLOG))
        confirmed = []
        for cut in self.cuts.values():
            if cut.receipt_us is None:
                continue
            if cut.receipt_us > now_us:
                # Or it were kept until that time comes.
                cut.receipt_us = now_us
                self._update(db, cut.seq, receipt_us=now_us)
            if cut.receipt_us <= min(asked_us, before_us):
                confirmed.append(cut)
        self._forget(db, confirmed, now_us)
        return confirmed

    def release(self, db: sqlite3.Connection, *, readings: int, now_us: int) -> list[Cut]:
        """Delete some of the oldest that have a receipt, confirmed or not: there is no room for them any longer."""
        released: list[Cut] = []
        for _, cut in sorted(self.cuts.items()):
            if cut.delivered:
                released.append(cut)
                readings -= cut.readings
            if readings <= 0:
                break
        self._forget(db, released, now_us)
        return released

    def _forget(self, db: sqlite3.Connection, cuts: Iterable[Cut], now_us: int) -> None:
        """What was in `cuts` is deleted; of some batches the rows stay, as history."""
        for cut in cuts:
            if cut.segments is not None:
                db.execute("DELETE FROM segment WHERE id BETWEEN ? AND ?", cut.segments)
            db.execute("DELETE FROM note WHERE stream = ? AND seq = ?", (self.stream_id, cut.seq))
            self._update(db, cut.seq, confirmed_us=now_us)
            del self.cuts[cut.seq]
        oldest = self._row_id(self.next_seq) - _HISTORY
        db.execute("DELETE FROM batch WHERE id < ? AND confirmed_us IS NOT NULL", (oldest,))

    def set_back(self, db: sqlite3.Connection, seq: int) -> None:
        """Send batch `seq` with the backlog."""
        self.cuts[seq].lane = Lane.BACKLOG
        self._update(db, seq, lane=int(Lane.BACKLOG))

    def refuse(
        self, db: sqlite3.Connection, seq: int, *, status: int, reason: str, media_type: str, now_us: int
    ) -> int:
        """The receiver will not have batch `seq`: what was in it is cut anew, in halves; alone, it is set aside.

        The number itself is sent empty, so that none is missing. Returns how many readings were set aside, none where
        `seq` is no batch that waits.
        """
        cut = self.cuts.get(seq)
        if cut is None or cut.delivered:
            return 0
        ids, true_us, options = cut.segments, cut.true_us, {"media_type": media_type, "now_us": now_us}
        sql = "SELECT id FROM note WHERE stream = ? AND seq = ? ORDER BY id"
        notes = [row_id for (row_id,) in db.execute(sql, (self.stream_id, seq))]
        self._void(db, seq)
        if ids is not None:
            parts = [ids] if notes else list(self._halves(db, ids))
            if parts == [ids] and not notes:
                return self._set_aside(db, ids[0], status=status, reason=reason, now_us=now_us)
            for part in parts:
                self._cut(db, cut.lane, ids=part, true_us=true_us, notes=(), **options)  # type: ignore[arg-type]
            halves = [notes]
        elif len(notes) == 1:
            # The readings that it tells of are counted in `loss`; nobody over there can be told.
            db.execute("DELETE FROM note WHERE id = ?", notes)
            return 0
        else:
            halves = [notes[: len(notes) // 2], notes[len(notes) // 2 :]]
        for half in halves if media_type == PACKED else ():
            if half:
                self._cut(db, cut.lane, ids=None, true_us=None, notes=half, **options)  # type: ignore[arg-type]
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
            self._drop(db, [row_id], now_us)
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

    def _void(self, db: sqlite3.Connection, seq: int) -> None:
        """Batch `seq` has nothing in it any more; its segments are in no batch, and its notes wait."""
        cut = self.cuts[seq]
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE stream = ? AND seq = ?", (self.stream_id, seq))
        empty = Content([], [], []).encoded(stream=self.stream, seq=seq, media_type=cut.media_type)
        cut.sha256, cut.body = hashlib.sha256(empty).digest(), compress(empty, ENCODING)
        cut.first_id = cut.last_id = cut.true_us = cut.receipt_us = None
        cut.readings = cut.kept = cut.size = cut.first_us = cut.last_us = 0
        self._update(
            db,
            seq,
            first_id=None,
            last_id=None,
            true_us=None,
            readings=0,
            first_us=0,
            last_us=0,
            sha256=cut.sha256,
            receipt_us=None,
            receipt=None,
        )

    def repair(self, db: sqlite3.Connection, seq: int, now_us: int) -> None:
        """Batch `seq` cannot be made any more as it was cut: what is left of it goes in another."""
        cut = self.cuts[seq]
        found = content(db, ids=cut.segments, true_us=cut.true_us)
        hold(db, cut)
        self._void(db, seq)
        self._drop(db, found.damaged, now_us)

    def renumber(self, db: sqlite3.Connection, now_us: int) -> None:
        """A new stream: everything that is not confirmed is cut anew under it."""
        for cut in self.cuts.values():
            hold(db, cut)
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE seq IS NOT NULL")
        db.execute("DELETE FROM batch WHERE stream = ? AND confirmed_us IS NULL", (self.stream_id,))
        self.stream_id, self.next_seq, self.cuts = begin_stream(db, now_us), 1, {}
        [[self.stream]] = db.execute("SELECT name FROM stream WHERE id = ?", (self.stream_id,))

    def _update(self, db: sqlite3.Connection, seq: int, **values: object) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        db.execute(f"UPDATE batch SET {names} WHERE id = ?", (*values.values(), self._row_id(seq)))

    def _row_id(self, seq: int) -> int:
        return self.stream_id * _STREAM_STEP + seq


def _loaded(db: sqlite3.Connection, row: tuple[Any, ...]) -> Cut:
    """The batch of a row with `_COLUMNS`. What is damaged of it shows when it is made, by its checksum."""
    seq, lane, first_id, last_id, true_us, readings, first_us, last_us, sha256, media_type, receipt_us = row
    ids = None if first_id is None or last_id is None else (first_id, last_id)
    kept, size = _extent(db, ids)
    text = media_type.decode("ascii", "replace")
    return Cut(
        seq=seq,
        lane=Lane(lane),
        first_id=first_id,
        last_id=last_id,
        true_us=true_us,
        readings=readings,
        first_us=first_us,
        last_us=last_us,
        sha256=sha256,
        media_type=text if text in MEDIA_TYPES else PACKED,
        kept=kept,
        size=size,
        # Where these are not its segments, it is not known any more what the receipt was for.
        receipt_us=receipt_us if kept == readings else None,
    )


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
