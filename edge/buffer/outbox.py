"""The batches that are numbered and not confirmed. What changes them runs inside its caller's transaction."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator

from contract.codec import compress
from contract.notes import NoteKind
from edge.buffer.batch_rows import begin_stream, insert_cut, newest_stream, unconfirmed, update_cut
from edge.buffer.batches import ENCODING, Cut, Lane
from edge.buffer.content import Content, content
from edge.buffer.gaps import gaps
from edge.buffer.rows import Loss
from edge.buffer.tables import extent, insert_loss
from edge.buffer.truth import hold


class Outbox:
    """The batches of the current stream that are not confirmed, by their numbers.

    `dropped` is set when segments are found damaged, and are gone.
    """

    def __init__(self, *, stream_id: int, stream: str, next_seq: int, cuts: Iterable[Cut]) -> None:
        self.dropped = False
        self.stream_id, self.stream, self.next_seq = stream_id, stream, next_seq
        self.cuts = {cut.seq: cut for cut in cuts}

    @classmethod
    def load(cls, db: sqlite3.Connection) -> "Outbox":
        """Raises TypeError or ValueError where a row is damaged."""
        stream_id, stream, last = newest_stream(db)
        return cls(stream_id=stream_id, stream=stream, next_seq=last + 1, cuts=unconfirmed(db, stream_id))

    def outstanding(self, lane: Lane, limit: int) -> list[Cut]:
        """Batches without a receipt, the oldest number first."""
        found = (cut for _, cut in sorted(self.cuts.items()) if cut.lane is lane and not cut.delivered)
        return [cut for _, cut in zip(range(limit), found, strict=False)]

    def uncut(self) -> Iterator[tuple[int, int]]:
        """Where segments that are in no batch can be: first and last possible id, ascending, the last one open."""
        return gaps(sorted(cut.segments for cut in self.cuts.values() if cut.segments is not None))

    def number(
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
        """Give `found` the next number: a batch of the segments in `ids`, or of notes alone."""
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        body = found.encoded(stream=self.stream, seq=seq, media_type=media_type)
        first_id, last_id = ids or (None, None)
        first_us, last_us = found.span
        kept, size = (0, 0) if ids is None else extent(db, ids)
        cut = Cut(
            seq=seq,
            lane=lane,
            first_id=first_id,
            last_id=last_id,
            true_us=true_us,
            readings=found.readings,
            first_us=first_us,
            last_us=last_us,
            sha256=hashlib.sha256(body).digest(),
            media_type=media_type,
            kept=kept,
            size=size,
            body=compress(body, ENCODING),
        )
        self.cuts[seq] = cut
        insert_cut(db, self.stream_id, cut, now_us)

    def set_back(self, db: sqlite3.Connection, seq: int) -> None:
        """Send batch `seq` with the backlog."""
        self.cuts[seq].lane = Lane.BACKLOG
        self.update(db, seq, lane=int(Lane.BACKLOG))

    def void(self, db: sqlite3.Connection, seq: int) -> None:
        """Batch `seq` has nothing in it any more; its segments are in no batch, and its notes wait."""
        cut = self.cuts[seq]
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE stream = ? AND seq = ?", (self.stream_id, seq))
        empty = Content([], [], []).encoded(stream=self.stream, seq=seq, media_type=cut.media_type)
        cut.sha256, cut.body = hashlib.sha256(empty).digest(), compress(empty, ENCODING)
        cut.first_id = cut.last_id = cut.true_us = cut.receipt_us = None
        cut.readings = cut.kept = cut.size = cut.first_us = cut.last_us = 0
        self.update(
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
        self.void(db, seq)
        self.drop(db, found.damaged, now_us)

    def drop(self, db: sqlite3.Connection, ids: Iterable[int], now_us: int) -> None:
        """Segments that cannot be read any more are gone, and recorded."""
        for row_id in ids:
            [(readings, first_us, last_us)] = db.execute(
                "SELECT readings, first_us, last_us FROM segment WHERE id = ?", (row_id,)
            )
            db.execute("DELETE FROM segment WHERE id = ?", (row_id,))
            insert_loss(db, Loss("damaged on the disk", readings, first_us, last_us, NoteKind.DAMAGED), now_us)
            self.dropped = True

    def renumber(self, db: sqlite3.Connection, now_us: int) -> None:
        """A new stream: everything that is not confirmed is cut anew under it."""
        for cut in self.cuts.values():
            hold(db, cut)
        db.execute("UPDATE note SET stream = NULL, seq = NULL WHERE seq IS NOT NULL")
        db.execute("DELETE FROM batch WHERE stream = ? AND confirmed_us IS NULL", (self.stream_id,))
        self.stream_id, self.stream = begin_stream(db, now_us)
        self.next_seq, self.cuts = 1, {}

    def update(self, db: sqlite3.Connection, seq: int, **values: object) -> None:
        """Write `values` of batch `seq`, by the names of columns."""
        update_cut(db, self.stream_id, seq, **values)
