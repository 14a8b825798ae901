"""What a fault destroyed of a buffer: readings whose own bytes it overwrote, which nobody can bring back.

Told from the bytes before and after, and from what SQLite reads of the file as it was; not from what the gateway makes
of it.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_INTERIOR = 0x05
"""First byte of a page that has no rows, but leads to such pages."""
_WITHOUT_RECEIPT = """
    SELECT id, readings, body FROM segment WHERE NOT EXISTS (
        SELECT * FROM batch WHERE segment.id BETWEEN first_id AND last_id AND receipt_us IS NOT NULL
    )
"""


class Buffer:
    """The buffer at `path` as it is now, the gateway being down after a clean stop: all of it is in the one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.read_bytes()
        with _opened(self._before) as db:
            self._segments = {number: (readings, body) for number, readings, body in db.execute(_WITHOUT_RECEIPT)}

    def destroyed(self) -> int:
        """Readings without a receipt of which anything lay in a page that is another one by now."""
        size = int.from_bytes(self._before[16:18], "big")
        after = self._path.read_bytes()
        gone: set[int] = set()
        # The first page has the file's header, and no rows of ours.
        for start in range(size, len(self._before), size):
            page = self._before[start : start + size]
            if page != after[start : start + size] and page[0] != _INTERIOR:
                gone |= self._in_page(start, size)
        return sum(self._segments[number][0] for number in gone)

    def _in_page(self, start: int, size: int) -> set[int]:
        """Ids of segments that SQLite cannot read without the page that begins at `start`."""
        gone: set[int] = set()
        with _opened(self._before[:start] + bytes(size) + self._before[start + size :]) as db:
            try:
                db.execute("SELECT sql FROM sqlite_master").fetchall()
            except sqlite3.DatabaseError:
                # Then it is one of those that say which tables there are.
                return gone
            for number, segment in self._segments.items():
                try:
                    found = db.execute("SELECT readings, body FROM segment WHERE id = ?", [number]).fetchone()
                except sqlite3.DatabaseError:
                    found = None
                if found != segment:
                    gone.add(number)
        return gone


@contextmanager
def _opened(content: bytes) -> Iterator[sqlite3.Connection]:
    with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
        file.write(content)
        file.flush()
        with closing(sqlite3.connect(f"file:{file.name}?immutable=1", uri=True)) as db:
            yield db
