"""What the buffer may take, whether it is more than that, and pages given back to the disk."""

import os
import sqlite3
from pathlib import Path

import structlog

from edge.buffer.database import look
from edge.errors import BufferUnwritable

_LOG = structlog.get_logger("edge.buffer")
# Pages without content are given back when they are that many bytes, and what is left is a small part of the file.
_WORTH_GIVING_BACK = 16 * 2**20
# A file of next to nothing is not what fills the disk.
_NEXT_TO_NOTHING = 2**20


class Limits:
    """What the buffer may take: bytes of its own, what must stay free on the disk, and bytes of raw frames."""

    def __init__(self, *, max_bytes: int, min_free_bytes: int = 0, frames_bytes: int = 0) -> None:
        self.max_bytes, self.min_free_bytes, self.frames_bytes = max_bytes, min_free_bytes, frames_bytes

    def exceeded(self, db: sqlite3.Connection, folder: Path) -> bool:
        """Whether the buffer in `folder` takes too much, of its own or of the disk."""
        used, empty = pages(db)
        if used > self.max_bytes:
            return True
        disk = os.statvfs(folder)
        # Empty pages of the file are room as well.
        room = disk.f_bavail * disk.f_frsize + empty
        return room < self.min_free_bytes and used > _NEXT_TO_NOTHING


def pages(db: sqlite3.Connection) -> tuple[int, int]:
    """Bytes of pages with content, and without."""
    [[size]], [[count]], [[empty]] = (
        db.execute(f"PRAGMA {name}").fetchall() for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (count - empty), size * empty


def give_back(db: sqlite3.Connection) -> None:
    """Shrink a file that is mostly empty; rewriting what is left costs less than it gives. Raises BufferUnwritable."""
    used, empty = look(lambda: pages(db))
    if empty > _WORTH_GIVING_BACK and used < empty / 4:
        try:
            look(lambda: db.execute("VACUUM"))
            look(lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        except BufferUnwritable as error:
            # It needs room for a copy of what is left. The file is as good as before.
            _LOG.info("the buffer's file does not shrink", reason=error.reason)
