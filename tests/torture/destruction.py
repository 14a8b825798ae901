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
_LOG_HEADER, _FRAME_HEADER = 32, 24
"""Bytes before the first frame of a write-ahead log, and before the page in each."""
_WITHOUT_RECEIPT = """
    SELECT id, readings, body FROM segment WHERE NOT EXISTS (
        SELECT * FROM batch WHERE segment.id BETWEEN first_id AND last_id AND receipt_us IS NOT NULL
    )
"""


class Buffer:
    """The buffer at `path` as it is now, the gateway being down: its file, and the log that a kill left."""

    def __init__(self, path: Path) -> None:
        self._parts = (path, path.with_name(path.name + "-wal"))
        self._file, self._log = self._bytes()
        self._whole = _checkpointed(self._file, self._log)
        self._size = int.from_bytes(self._whole[16:18], "big")
        with _opened(self._whole) as db:
            self._segments = {number: (readings, body) for number, readings, body in db.execute(_WITHOUT_RECEIPT)}

    def _bytes(self) -> tuple[bytes, bytes]:
        file, log = (part.read_bytes() if part.exists() else b"" for part in self._parts)
        return file, log

    def destroyed(self) -> int:
        """Readings without a receipt of which anything lay in a page that is another one by now."""
        file, log = self._bytes()
        gone: set[int] = set()
        frames = _newest_frames(self._log, self._size)
        # The first page has the file's header, and no rows of ours.
        for start in range(self._size, len(self._whole), self._size):
            end = start + self._size
            before, after = self._file[start:end], file[start:end]
            if (frame := frames.get(start // self._size + 1)) is not None:
                before, after = _image(self._log, frame, self._size), _image(log, frame, self._size)
            if before != after:
                gone |= self._in_page(start, self._size)
        return sum(self._segments[number][0] for number in gone)

    def _in_page(self, start: int, size: int) -> set[int]:
        """Ids of segments that SQLite cannot read without the page that begins at `start`."""
        gone: set[int] = set()
        if self._whole[start] == _INTERIOR:
            return gone
        with _opened(self._whole[:start] + bytes(size) + self._whole[start + size :]) as db:
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


def _checkpointed(file: bytes, log: bytes) -> bytes:
    """All that is committed, in one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "buffer.sqlite"
        path.write_bytes(file)
        path.with_name(path.name + "-wal").write_bytes(log)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return path.read_bytes()


def _newest_frames(log: bytes, size: int) -> dict[int, int]:
    """Where the newest committed image of each page begins in the log, with its frame, by the page's number."""
    newest: dict[int, int] = {}
    open_: dict[int, int] = {}
    for start in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        if log[start + 8 : start + 16] != log[16:24]:
            break
        open_[int.from_bytes(log[start : start + 4], "big")] = start
        if any(log[start + 4 : start + 8]):
            newest |= open_
            open_ = {}
    return newest


def _image(log: bytes, frame: int, size: int) -> bytes:
    """A page's number and itself; salts and checksums of its frame say nothing of it."""
    page = frame + _FRAME_HEADER
    return log[frame : frame + 4] + log[page : page + size]


@contextmanager
def _opened(content: bytes) -> Iterator[sqlite3.Connection]:
    with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
        file.write(content)
        file.flush()
        with closing(sqlite3.connect(f"file:{file.name}?immutable=1", uri=True)) as db:
            yield db
