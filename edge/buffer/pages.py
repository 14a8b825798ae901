"""Rows out of the raw pages of a SQLite file that SQLite itself will not open any more.

Format: https://www.sqlite.org/fileformat2.html, "B-tree Pages", "Record Format" and "The WAL File Format". Every page
is looked at as if it were a leaf of a table, whether the file still says so or not: each image of it in the write-ahead
log, and the one in the file. The log may hold images that are older than the file's; none is known to be the newest
where its headers are damaged too.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

WAL_HEADER, FRAME_HEADER = 32, 24
"""Bytes before the first frame of a log, and before the image of a page in each."""
_LEAF = 0x0D
# Of one value: more is no row of a buffer but nonsense read as a length.
_LONGEST = 64 * 2**20
# What buffers were made with, by this release and by 0.1.0, for where no header says it.
_USUAL_SIZES = (512, 4096)

Value = int | bytes | str | float | None
Place = tuple[bool, int, int]
"""Where a row is: whether in the log, at which byte its page begins, and which of the page's rows."""


class OnDisk:
    """The bytes of an open file, read as they are asked for: it may exceed the memory.

    Not mapped: where the disk gives a block no more, that is an OSError then, and not the end of the process.
    """

    def __init__(self, fd: int) -> None:
        self._fd, self._size = fd, os.fstat(fd).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        start, end, _ = place.indices(self._size)
        return os.pread(self._fd, max(end - start, 0), start)


Bytes = OnDisk | bytes


class Pages:
    """The pages in the bytes of a file and of the log beside it."""

    def __init__(self, file: Bytes, log: Bytes) -> None:
        self._file, self._frames = file, log
        self._size, self._usable = 0, 0
        # Where the image of a page begins in the log, by its number: the newest, as far as the log says.
        self._log: dict[int, int] = {}

    def sizes(self) -> list[int]:
        """Sizes that the pages may have, the likeliest first."""
        said = int.from_bytes(self._file[16:18], "big"), int.from_bytes(self._frames[8:12], "big")
        sizes = [65_536 if size == 1 else size for size in said]
        return list(dict.fromkeys(size for size in (*sizes, *_USUAL_SIZES) if is_page_size(size)))

    def take(self, size: int) -> None:
        """Pages are of `size` from now on."""
        self._size = size
        self._usable = size - (self._file[20:21][0] if self._file[:15] == b"SQLite format 3" else 0)
        self._log = {}
        salts = self._frames[16:24]
        for current in (False, True):
            for start in self._starts():
                if (self._frames[start - 16 : start - 8] == salts) is current:
                    number = int.from_bytes(self._frames[start - FRAME_HEADER : start - 20], "big")
                    self._log[number] = start

    def _starts(self) -> range:
        """Where in the log the images of pages begin."""
        first = WAL_HEADER + FRAME_HEADER
        return range(first, len(self._frames) - self._size + 1, FRAME_HEADER + self._size)

    def rows(self) -> Iterator[tuple[Place, int, list[Value]]]:
        """Place, row id and values of everything that reads as a row, in no order, some of it many times."""
        for in_log, starts in ((True, self._starts()), (False, range(0, len(self._file), self._size))):
            for start in starts:
                page = self._page(in_log, start)
                for number in range(self._count(page, start, in_log)):
                    try:
                        yield (in_log, start, number), *self._row(page, self._head(start, in_log), number)
                    except (IndexError, ValueError):
                        continue

    def row(self, place: Place) -> tuple[int, list[Value]]:
        """The row that `rows` has found there."""
        in_log, start, number = place
        return self._row(self._page(in_log, start), self._head(start, in_log), number)

    def _page(self, in_log: bool, start: int) -> bytes:
        return (self._frames if in_log else self._file)[start : start + self._size]

    def _head(self, start: int, in_log: bool) -> int:
        """Where the b-tree's header is in a page: the first one begins with the file's."""
        first = int.from_bytes(self._frames[start - FRAME_HEADER : start - 20], "big") == 1 if in_log else start == 0
        return 100 if first else 0

    def _count(self, page: bytes, start: int, in_log: bool) -> int:
        head = self._head(start, in_log)
        if len(page) != self._size or page[head] != _LEAF:
            return 0
        return min(int.from_bytes(page[head + 3 : head + 5], "big"), (self._size - head - 8) // 2)

    def _row(self, page: bytes, head: int, number: int) -> tuple[int, list[Value]]:
        """Raises IndexError, ValueError."""
        at = int.from_bytes(page[head + 8 + 2 * number : head + 10 + 2 * number], "big")
        length, at = _varint(page, at)
        row_id, at = _varint(page, at)
        row_id = row_id - 2**64 if row_id >= 2**63 else row_id
        return row_id, _record(self._payload(page, at, length))

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        """The payload that begins at `at` and may go on in other pages. Raises ValueError."""
        if not 0 < length <= _LONGEST:
            raise ValueError("no payload")
        most, least = self._usable - 35, (self._usable - 12) * 32 // 255 - 23
        if length <= most:
            return page[at : at + length]
        local = least + (length - least) % (self._usable - 4)
        local = local if local <= most else least
        payload = bytearray(page[at : at + local])
        follows = int.from_bytes(page[at + local : at + local + 4], "big")
        while len(payload) < length:
            in_log = follows in self._log
            more = self._page(in_log, self._log[follows] if in_log else (follows - 1) * self._size)
            if not follows or len(more) != self._size:
                raise ValueError("the chain is broken")
            payload += more[4 : 4 + min(length - len(payload), self._usable - 4)]
            follows = int.from_bytes(more[:4], "big")
        return bytes(payload)


@contextlib.contextmanager
def pages_on_disk(path: Path) -> Iterator[Pages]:
    """Those of the file at `path` and of its log, one of which may not be there."""
    with contextlib.ExitStack() as stack:
        yield Pages(*(stack.enter_context(on_disk(part)) for part in (path, log_of(path))))


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[Bytes]:
    """What is in the file at `path`; nothing where there is none."""
    if not path.exists() or not path.stat().st_size:
        yield b""
        return
    with path.open("rb") as file:
        yield OnDisk(file.fileno())


def log_of(path: Path) -> Path:
    """The write-ahead log of the file at `path`."""
    return path.with_name(path.name + "-wal")


def is_page_size(size: int) -> bool:
    return 512 <= size <= 65_536 and not size & (size - 1)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(9):
        byte = page[at + place]
        if place == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    raise AssertionError("a varint has nine bytes")


_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def _record(payload: bytes) -> list[Value]:
    """The values of `payload`. Raises IndexError, ValueError."""
    header, at = _varint(payload, 0)
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != header:
        raise ValueError("no record")
    values: list[Value] = []
    for kind in kinds:
        size = _INTEGERS.get(kind, 8 if kind == 7 else (kind - 12) // 2 if kind >= 12 else 0)
        data = payload[at : at + size]
        if len(data) != size:
            raise ValueError("cut short")
        at += size
        if kind in _INTEGERS:
            values.append(int.from_bytes(data, "big", signed=True))
        elif kind in (8, 9):
            values.append(kind - 8)
        elif kind >= 12:
            values.append(data if kind % 2 == 0 else data.decode("utf-8", "replace"))
        else:
            values.append(None)
    return values
