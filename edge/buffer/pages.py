"""Rows out of the raw pages of a SQLite file that SQLite itself will not open any more.

Format: https://www.sqlite.org/fileformat2.html, "B-tree Pages", "Record Format" and "The WAL File Format". Every page
is looked at as if it were a leaf of a table, whether the file still says so or not; the newest image of a page in the
write-ahead log counts, and the one in the file beside it.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

_LEAF = 0x0D
_WAL_HEADER, _FRAME_HEADER = 32, 24
# Of one value: more is no row of a buffer but nonsense read as a length.
_LONGEST = 64 * 2**20

Value = int | bytes | str | float | None


class Pages:
    """The pages of the file at `path` and of the log beside it. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: mmap.mmap | bytes = b""
        self._size, self._usable = 0, 0
        self._log: dict[int, bytes] = {}

    def __enter__(self) -> "Pages":
        with self._path.open("rb") as file:
            file.seek(0, 2)
            if file.tell():
                self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        log = self._path.with_name(self._path.name + "-wal")
        frames = log.read_bytes() if log.exists() else b""
        self._size = self._page_size(frames)
        reserved = self._file[20] if len(self._file) >= 100 and self._file[:6] == b"SQLite" else 0
        self._usable = self._size - reserved
        step = _FRAME_HEADER + self._size
        for start in range(_WAL_HEADER, len(frames) - step + 1, step):
            number = int.from_bytes(frames[start : start + 4], "big")
            self._log[number] = frames[start + _FRAME_HEADER : start + step]
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._file, mmap.mmap):
            self._file.close()

    def _page_size(self, frames: bytes) -> int:
        size = int.from_bytes(self._file[16:18], "big")
        size = 65_536 if size == 1 else size
        if len(self._file) < 100 or size < 512 or size & (size - 1):
            size = int.from_bytes(frames[8:12], "big")
        # The size that every buffer was made with, where both headers are gone.
        return size if 512 <= size <= 65_536 and not size & (size - 1) else 1024

    def rows(self, columns: int) -> Iterator[tuple[int, list[Value]]]:
        """Row id and values of everything that reads as a row of that many columns, in no order, some of it twice."""
        for number in sorted(self._log):
            yield from self._rows(number, self._log[number], columns)
        for number in range(1, len(self._file) // self._size + 1):
            yield from self._rows(number, self._in_file(number), columns)

    def _in_file(self, number: int) -> bytes:
        return self._file[(number - 1) * self._size : number * self._size]

    def _rows(self, number: int, page: bytes, columns: int) -> Iterator[tuple[int, list[Value]]]:
        head = 100 if number == 1 else 0
        if len(page) != self._size or page[head] != _LEAF:
            return
        count = int.from_bytes(page[head + 3 : head + 5], "big")
        for place in range(min(count, (self._size - head - 8) // 2)):
            at = int.from_bytes(page[head + 8 + 2 * place : head + 10 + 2 * place], "big")
            try:
                length, at = _varint(page, at)
                row_id, at = _varint(page, at)
                values = _record(self._payload(page, at, length), columns)
            except (IndexError, ValueError):
                continue
            if values is not None:
                yield row_id, values

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
            more = self._log.get(follows) or self._in_file(follows)
            if not follows or len(more) != self._size:
                raise ValueError("the chain is broken")
            payload += more[4 : 4 + min(length - len(payload), self._usable - 4)]
            follows = int.from_bytes(more[:4], "big")
        return bytes(payload)


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


def _record(payload: bytes, columns: int) -> list[Value] | None:
    """The values of `payload`, None when it has another number of them. Raises IndexError, ValueError."""
    header, at = _varint(payload, 0)
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if len(kinds) != columns or at != header:
        return None
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
