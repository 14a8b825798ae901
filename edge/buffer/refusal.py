"""A batch that the receiver will not have: it is cut anew in halves, until what it refuses is alone."""

import sqlite3
from collections.abc import Iterator, Sequence

from contract.codec import PACKED
from contract.notes import FIRST_KINDS, NoteKind
from edge.buffer.cutter import Cutter
from edge.buffer.outbox import Outbox
from edge.buffer.rows import Loss
from edge.buffer.segments import DamagedSegment, pack, span, unpack
from edge.buffer.tables import ID_STEP, INSERT_REFUSED, decoded_note, insert_loss, insert_segment, told_in

_MALFORMED = 422


class Refusal:
    """The receiver's word on a batch of `outbox`, and what follows from it, in one transaction.

    `cutter` cuts what is left of the batch; a receiver that takes another form than the packed one is told no notes.
    """

    def __init__(
        self, db: sqlite3.Connection, outbox: Outbox, cutter: Cutter, *, status: int, reason: str, now_us: int
    ) -> None:
        self._db, self._outbox, self._cutter = db, outbox, cutter
        self._status, self._reason, self._now_us = status, reason, now_us

    def settle(self, seq: int) -> int:
        """What was in batch `seq` is cut anew, in halves; a single reading is set aside.

        The number itself is sent empty, so that none is missing. Returns how many readings were set aside, none where
        `seq` is no batch that waits.
        """
        cut = self._outbox.cuts.get(seq)
        if cut is None or cut.delivered:
            return 0
        ids, true_us = cut.segments, cut.true_us
        sql = "SELECT id FROM note WHERE stream = ? AND seq = ? ORDER BY id"
        notes = [row_id for (row_id,) in self._db.execute(sql, (self._outbox.stream_id, seq))]
        self._outbox.void(self._db, seq)
        retold = self._status == _MALFORMED and self._retold(notes)
        if ids is not None:
            # The notes may be what it does not like: without them first.
            parts = [ids] if notes else list(self._halves(ids))
            if parts == [ids] and not notes:
                return self._set_aside(ids[0])
            for part in parts:
                self._cutter.cut(cut.lane, ids=part, true_us=true_us, notes=(), again=True)
            halves = [notes]
        elif retold:
            halves = [notes]
        elif len(notes) == 1:
            # The readings that it tells of are counted in `loss`; nobody over there can be told.
            self._db.execute("DELETE FROM note WHERE id = ?", notes)
            return 0
        else:
            halves = [notes[: len(notes) // 2], notes[len(notes) // 2 :]]
        for half in halves if self._cutter.media_type == PACKED else ():
            if half:
                self._cutter.cut(cut.lane, ids=None, true_us=None, notes=half, again=True)
        return 0

    def _retold(self, notes: Sequence[int]) -> bool:
        """Whether any of `notes` is in older terms from now on: the receiver may know no others, whatever it said."""
        named = ", ".join(map(str, notes))
        rows = self._db.execute(f"SELECT id, body FROM note WHERE id IN ({named})").fetchall()
        as_it_was = [(row_id, decoded_note(body)) for row_id, body in rows]
        return told_in(self._db, rows, FIRST_KINDS) != as_it_was

    def _halves(self, ids: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """The two halves of `ids`; a single segment is split for it, one with a single reading stays whole."""
        sql = "SELECT id, readings FROM segment WHERE id BETWEEN ? AND ? ORDER BY id"
        rows = self._db.execute(sql, ids).fetchall()
        if len(rows) == 1:
            yield from ((part, part) for part in _split(self._db, rows[0][0]))
            return
        half, total = 0, sum(count for _, count in rows)
        for place, (row_id, count) in enumerate(rows[:-1]):
            half += count
            if 2 * half >= total or place == len(rows) - 2:
                yield ids[0], row_id
                yield rows[place + 1][0], ids[1]
                return

    def _set_aside(self, row_id: int) -> int:
        """The readings of a segment that cannot be split; how many."""
        [[body]] = self._db.execute("SELECT body FROM segment WHERE id = ?", (row_id,))
        try:
            readings = unpack(body)
        except DamagedSegment:
            self._outbox.drop(self._db, [row_id], self._now_us)
            return 0
        self._db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
        self._db.executemany(
            INSERT_REFUSED,
            [
                (reading.device, reading.time_us, pack([reading]), self._status, self._reason, self._now_us)
                for reading in readings
            ],
        )
        loss = Loss(f"refused: {self._reason}"[:500], len(readings), *span(readings), NoteKind.REFUSED)
        insert_loss(self._db, loss, self._now_us)
        return len(readings)


def _split(db: sqlite3.Connection, row_id: int) -> list[int]:
    """Make two segments of one; their ids. One id only where there is no room for another."""
    [(boot, offset_us, level, body)] = db.execute(
        "SELECT boot, offset_us, level, body FROM segment WHERE id = ?", (row_id,)
    )
    try:
        readings = unpack(body)
    except DamagedSegment:
        return [row_id]
    half = len(readings) // 2
    other = row_id + half * ID_STEP
    [[follows]] = db.execute("SELECT coalesce(min(id), ?) FROM segment WHERE id > ?", (other + 1, row_id))
    if other >= follows:
        # A part of what was thinned has fewer ids than readings.
        other = (row_id + follows) // 2
    if not half or other == row_id:
        return [row_id]
    db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
    for part_id, part in ((row_id, readings[:half]), (other, readings[half:])):
        insert_segment(db, part_id, part, boot=boot, offset_us=offset_us, level=level)
    return [row_id, other]
