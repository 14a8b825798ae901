"""Which readings and notes go in which batch."""

import sqlite3
from collections.abc import Collection, Sequence

from contract.codec import PACKED
from contract.notes import Note
from edge.buffer.batches import Lane
from edge.buffer.boots import Boots
from edge.buffer.content import content
from edge.buffer.gaps import LAST_ID
from edge.buffer.outbox import Outbox
from edge.buffer.tables import note_corrected, told_in

_MOST_NOTES = 500


class Cutter:
    """Cuts batches into `outbox`, for one transaction.

    `media_type` is the form in which they are made; a note of a kind that is not among `note_kinds` is told in older
    terms. Nothing of the running boot is cut while its true time is not known.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        outbox: Outbox,
        *,
        boots: Boots,
        media_type: str,
        note_kinds: Collection[str],
        now_us: int,
    ) -> None:
        self._db, self._outbox, self._boots = db, outbox, boots
        self.media_type, self._note_kinds, self._now_us = media_type, note_kinds, now_us

    def live(self, *, max_readings: int, span_us: int) -> bool:
        """Cut the newest readings, `span_us` of them at most; what is older is left to the backlog. False without any.

        Notes that wait go too, alone where there are no readings.
        """
        first = 1 + max((cut.last_id or 0 for cut in self._outbox.cuts.values()), default=0)
        chosen: list[tuple[int, int, int, int]] = []
        readings = 0
        sql = "SELECT id, boot, readings, last_us FROM segment WHERE id >= ? ORDER BY id DESC"
        for row in self._db.execute(sql, (first,)):
            row_id, boot, count, last_us = row
            if chosen and (boot != chosen[0][1] or readings + count > max_readings or chosen[0][3] - last_us > span_us):
                break
            if self._boots.waits(boot):
                return False
            chosen.append((row_id, boot, count, last_us))
            readings += count
        if not chosen:
            return self.cut(Lane.LIVE, ids=None, true_us=None)
        boot, ids = chosen[0][1], (chosen[-1][0], chosen[0][0])
        return self.cut(Lane.LIVE, ids=ids, true_us=self._boots.true_us(boot), again=self._boots.held(boot))

    def has_backlog(self) -> bool:
        """Whether `backlog` may find something. Writes nothing."""
        sql = "SELECT 1 FROM segment WHERE id BETWEEN ? AND ? LIMIT 1"
        return any(self._db.execute(sql, ids).fetchone() for ids in self._behind())

    def backlog(self, *, max_readings: int, count: int) -> int:
        """Cut up to `count` batches of the oldest readings before the newest batch; how many there were."""
        done = 0
        for first, last in self._behind():
            while done < count:
                ids, boot = self._oldest(first, last, max_readings)
                if ids is None or self._boots.waits(boot):
                    break
                again = self._boots.held(boot)
                done += self.cut(Lane.BACKLOG, ids=ids, true_us=self._boots.true_us(boot), again=again)
                first = ids[1] + 1
        return done

    def _behind(self) -> list[tuple[int, int]]:
        """Where the backlog's segments can be. The newest are the live lane's, where that can go.

        What is of earlier starts need not wait for the time of this one.
        """
        live_waits = self._boots.waits(self._boots.running)
        return [(first, last) for first, last in self._outbox.uncut() if last != LAST_ID or live_waits]

    def _oldest(self, first: int, last: int, max_readings: int) -> tuple[tuple[int, int] | None, int]:
        """Ids of the oldest segments of one boot between the two, as many readings as a batch may have."""
        ids: list[int] = []
        readings, of_boot = 0, 0
        sql = "SELECT id, boot, readings FROM segment WHERE id BETWEEN ? AND ? ORDER BY id"
        for row_id, boot, count in self._db.execute(sql, (first, last)):
            if ids and (boot != of_boot or readings + count > max_readings):
                break
            ids.append(row_id)
            readings, of_boot = readings + count, boot
        return ((ids[0], ids[-1]) if ids else None), of_boot

    def cut(
        self,
        lane: Lane,
        *,
        ids: tuple[int, int] | None,
        true_us: int | None,
        notes: Sequence[int] | None = None,
        again: bool = False,
    ) -> bool:
        """A batch of the segments in `ids`, with notes of these ids, or those that wait. False when it were empty.

        Damaged segments are recorded, and gone. What is corrected is counted, unless it is cut `again`: under another
        number, what it says of times was counted and told before.
        """
        found = content(self._db, ids=ids, true_us=true_us)
        self._outbox.drop(self._db, found.damaged, self._now_us)
        if not again and (corrected := found.corrected):
            note_corrected(self._db, corrected, found.span)
        if self.media_type == PACKED:
            found.notes = self._take_notes(notes)
        if not found.groups:
            ids = true_us = None
        if not found.groups and not found.notes:
            return False
        self._outbox.number(
            self._db,
            lane,
            found,
            ids=ids,
            true_us=true_us,
            media_type=self.media_type,
            now_us=self._now_us,
        )
        return True

    def _take_notes(self, ids: Sequence[int] | None) -> list[Note]:
        """Notes of `ids`, or those that wait, for the next batch. What cannot be read any more is gone."""
        if ids is None:
            rows = self._db.execute("SELECT id, body FROM note WHERE seq IS NULL ORDER BY id LIMIT ?", (_MOST_NOTES,))
        else:
            named = ", ".join(map(str, ids))
            rows = self._db.execute(f"SELECT id, body FROM note WHERE id IN ({named}) ORDER BY id")
        taken = told_in(self._db, rows.fetchall(), self._note_kinds)
        self._db.executemany("DELETE FROM note WHERE id = ?", [(row_id,) for row_id, note in taken if note is None])
        self._db.executemany(
            "UPDATE note SET stream = ?, seq = ? WHERE id = ?",
            [(self._outbox.stream_id, self._outbox.next_seq, row_id) for row_id, note in taken if note is not None],
        )
        return [note for _, note in taken if note is not None]
