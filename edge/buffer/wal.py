"""What SQLite leaves unread of a write-ahead log that is damaged.

It reads a log up to the first frame that is not what was written, and drops all that follows without a word: that is
right after a power cut, which tears the newest transaction alone, and costs commits where a byte was altered.
Format: https://www.sqlite.org/fileformat2.html, "The WAL File Format".
"""

import sys
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from edge.buffer.pages import FRAME_HEADER, WAL_HEADER, Bytes, is_page_size, log_of, on_disk
from edge.errors import BufferDamaged

_MAGIC = 0x377F0682
"""Of a log with little-endian checksums; one more for big-endian ones."""
_WORD = 0xFFFF_FFFF


class _Frame(msgspec.Struct, frozen=True):
    """`start` is where it begins, `pages` the size of the file after a commit, 0 where it ends none."""

    start: int
    pages: int
    content: bytes

    def salts(self) -> bytes:
        return self.content[8:16]


def require_whole_log(path: Path, *, page_bytes: int) -> bool:
    """Whether SQLite leaves the newest transaction in the log of the file at `path` unread, and nothing else.

    A power cut tears that one before anybody relies on it, and what is damaged looks the same: nothing is made of it,
    or a broker would repeat what is there already. Raises BufferDamaged where more than one is left unread: all but the
    newest were on the disk once. Of pages of another size than `page_bytes`, as 0.1.0 had, nothing could be salvaged.
    """
    with on_disk(log_of(path)) as log:
        head = log[:WAL_HEADER]
        if head and not (path.exists() and path.stat().st_size):
            raise BufferDamaged("there is a write-ahead log, and no file that it is of")
        if not _is_sound(head):
            if _size_in_file(path) == page_bytes and any(frame.pages for frame in _frames(log, page_bytes)):
                raise BufferDamaged("the head of its write-ahead log is not what was written")
            return False
        if _size(head) != page_bytes:
            return False
        end = _read_by_sqlite(head, _frames(log, page_bytes))
        left = (frame for frame in _frames(log, page_bytes, end) if _is_of_now(frame, head))
        commits = sum(frame.pages > 0 for frame in left)
        if commits > 1:
            raise BufferDamaged(f"its write-ahead log is damaged after byte {end}, and {commits} commits follow")
        return commits == 1


def _is_of_now(frame: _Frame, head: bytes) -> bool:
    """An older one has two other salts, and one byte is of one of them."""
    salts = frame.salts()
    return salts[:4] == head[16:20] or salts[4:] == head[20:24]


def _is_sound(head: bytes) -> bool:
    return (
        len(head) == WAL_HEADER
        and int.from_bytes(head[:4], "big") in (_MAGIC, _MAGIC + 1)
        and is_page_size(_size(head))
        and _summed(head[:24], (0, 0), head) == _stored(head[24:])
    )


def _size(head: bytes) -> int:
    return int.from_bytes(head[8:12], "big")


def _size_in_file(path: Path) -> int:
    with on_disk(path) as file:
        return int.from_bytes(file[16:18], "big")


def _frames(log: Bytes, size: int, since: int = WAL_HEADER) -> Iterator[_Frame]:
    """Those that are whole by their length, and of a page; from byte `since` on."""
    length = FRAME_HEADER + size
    for start in range(since, len(log) - length + 1, length):
        content = log[start : start + length]
        if any(content[:4]):
            yield _Frame(start, int.from_bytes(content[4:8], "big"), content)


def _read_by_sqlite(head: bytes, frames: Iterable[_Frame]) -> int:
    """Where the frames end that belong to whole commits, each as it was written, and after whole ones alone."""
    end, sums = WAL_HEADER, _stored(head[24:])
    for frame in frames:
        if frame.salts() != head[16:24]:
            break
        sums = _summed(frame.content[FRAME_HEADER:], _summed(frame.content[:8], sums, head), head)
        if sums != _stored(frame.content[16:FRAME_HEADER]):
            break
        if frame.pages:
            end = frame.start + len(frame.content)
    return end


def _stored(sums: bytes) -> tuple[int, int]:
    return int.from_bytes(sums[:4], "big"), int.from_bytes(sums[4:8], "big")


def _summed(data: bytes, sums: tuple[int, int], head: bytes) -> tuple[int, int]:
    """The checksum of `data` that follows on `sums`."""
    words = array("I", data)
    if (head[3] & 1) != (sys.byteorder == "big"):
        words.byteswap()
    first, second = sums
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
