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
        self._segments = _segments(self._whole)
        self._newest = _newest_transaction(self._log, self._size)

    def _bytes(self) -> tuple[bytes, bytes]:
        file, log = (part.read_bytes() if part.exists() else b"" for part in self._parts)
        return file, log

    def destroyed(self) -> int:
        """Readings without a receipt of which anything lay in a page that is another one by now."""
        file, log = self._bytes()
        gone: set[int] = set()
        begin, end = self._newest
        if log[begin:end] != self._log[begin:end]:
            # It looks like one that a power cut tore, of which nothing is made.
            gone |= self._segments.keys() - _segments(_checkpointed(self._file, self._log[:begin])).keys()
        frames = _committed_frames(self._log, self._size)
        # The first page has the file's header, and no rows of ours.
        for start in range(self._size, len(self._whole), self._size):
            end = start + self._size
            images = [(self._file[start:end], file[start:end])] if end <= len(self._file) else []
            for frame in frames.get(start // self._size + 1, ()):
                images.append((_image(self._log, frame, self._size), _image(log, frame, self._size)))
            *older, (before, after) = images
            if before != after:
                left = [image[-self._size :] for image, now in older if image == now]
                gone |= self._without(start, left[-1] if left else bytes(self._size))
        return sum(self._segments[number][0] for number in gone)

    def _without(self, start: int, instead: bytes) -> set[int]:
        """Ids of segments that SQLite cannot read with `instead` as the page that begins at `start`."""
        gone: set[int] = set()
        if self._whole[start] == _INTERIOR:
            return gone
        with _opened(self._whole[:start] + instead + self._whole[start + self._size :]) as db:
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


def _segments(whole: bytes) -> dict[int, tuple[int, bytes]]:
    """Readings and bodies of those without a receipt, by id."""
    with _opened(whole) as db:
        return {number: (readings, body) for number, readings, body in db.execute(_WITHOUT_RECEIPT)}


def _newest_transaction(log: bytes, size: int) -> tuple[int, int]:
    """Where the frames of the newest one begin and end in the log."""
    ends = [_LOG_HEADER]
    for start in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        if log[start + 8 : start + 16] != log[16:24]:
            break
        if any(log[start + 4 : start + 8]):
            ends.append(start + _FRAME_HEADER + size)
    return ends[-2] if len(ends) > 1 else ends[-1], ends[-1]


def _committed_frames(log: bytes, size: int) -> dict[int, list[int]]:
    """Where the images of each page begin in the log, with their frames, the newest last, by the page's number."""
    committed: dict[int, list[int]] = {}
    open_: list[int] = []
    for start in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        if log[start + 8 : start + 16] != log[16:24]:
            break
        open_.append(start)
        if any(log[start + 4 : start + 8]):
            for one in open_:
                committed.setdefault(int.from_bytes(log[one : one + 4], "big"), []).append(one)
            open_ = []
    return committed


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
