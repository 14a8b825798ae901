"""What the file holds, kept in memory too: nobody has to count it again and again."""

import sqlite3
from collections.abc import Collection, Sequence

from edge.buffer.batches import Cut
from edge.buffer.boots import Boots
from edge.buffer.file import meta, set_meta
from edge.buffer.gaps import LAST_ID, times
from edge.buffer.outbox import Outbox
from edge.buffer.rows import Backlog
from edge.buffer.tables import ID_STEP, extent, next_segment_id


class Ledger:
    """Batches, boots, the next segment's id, and totals.

    It changes inside transactions; after one that failed, `read` it again.
    """

    def __init__(self) -> None:
        self.outbox = Outbox(stream_id=0, stream="", next_seq=1, cuts=())
        self.boots = Boots()
        self.next_id = ID_STEP
        self._readings = self._bytes = 0

    def read(self, db: sqlite3.Connection) -> None:
        self.outbox = Outbox.load(db)
        self.boots.load(db)
        self.next_id = next_segment_id(db)
        self.count(db)

    def count(self, db: sqlite3.Connection) -> None:
        """Readings of all segments, and the bytes of their bodies."""
        self._readings, self._bytes = extent(db, (0, LAST_ID))
        self.outbox.dropped = False

    def added(self, readings: int, size: int) -> None:
        """A segment of so many readings and bytes, which took `next_id`."""
        self.next_id += ID_STEP * readings
        self._readings, self._bytes = self._readings + readings, self._bytes + size

    def deleted(self, db: sqlite3.Connection, cuts: Sequence[Cut]) -> None:
        """What had a receipt was deleted: it counts as synced."""
        if cuts:
            before = meta(db, "synced_readings")
            synced = sum(cut.readings for cut in cuts)
            set_meta(db, "synced_readings", synced + (before if isinstance(before, int) else 0))
        self._readings -= sum(cut.kept for cut in cuts)
        self._bytes -= sum(cut.size for cut in cuts)

    def backlog(self, db: sqlite3.Connection, got: Collection[int]) -> Backlog:
        """What has no receipt; those of the numbers `got` are not written down yet."""
        delivered = [cut for cut in self.outbox.cuts.values() if cut.delivered or cut.seq in got]
        return Backlog(
            self._readings - sum(cut.kept for cut in delivered),
            self._bytes - sum(cut.size for cut in delivered),
            min((first_us for first_us, _ in self.waiting(db, got)), default=None),
        )

    def waiting(self, db: sqlite3.Connection, got: Collection[int]) -> list[tuple[int, int]]:
        """First and last time of each run of segments without a receipt, in microseconds and in no order."""
        cuts = [cut for cut in self.outbox.cuts.values() if cut.segments and not cut.delivered and cut.seq not in got]
        return [(cut.first_us, cut.last_us) for cut in cuts] + times(db, self.outbox.uncut())
