"""Where the buffer is, and whether the file that is open is still the one there."""

import os
import sqlite3
from pathlib import Path

import structlog

from edge.buffer.database import look
from edge.buffer.file import closed, rescue_name, sync_folder
from edge.errors import BufferDamaged, BufferUnwritable

_LOG = structlog.get_logger("edge.buffer")


class Location:
    """The buffer's path, on the disk that is mounted at `mount`, if one is named."""

    def __init__(self, path: Path, mount: Path | None) -> None:
        self.path, self.mount = path, mount
        self._log = path.with_name(path.name + "-wal")
        self._inodes: tuple[object, object] = (None, None)

    def opened(self) -> None:
        """What is there now is the open file, and its log."""
        self._inodes = self._there()

    def check(self) -> None:
        """Raises BufferUnwritable when the open file is not there any more."""
        if not self._mounted:
            raise BufferUnwritable(f"nothing is mounted at {self.mount}", reopen=True)
        if self._there() != self._inodes:
            raise BufferUnwritable(f"{self.path} was taken away or replaced", reopen=True)

    def rescue(self, db: sqlite3.Connection, now_us: int) -> None:
        """Copy and close the open file `db` where another is at its path, or none.

        Raises BufferUnwritable where there is no room for the copy; `db` stays open then.
        """
        if not self._mounted or self._there()[0] == self._inodes[0]:
            return
        copy = rescue_name(self.path, now_us)
        try:
            look(lambda: db.execute("VACUUM INTO ?", (str(copy),)))
            _on_disk(copy)
        except (BufferDamaged, OSError) as error:
            _LOG.error("the buffer was taken away, and cannot be copied", reason=str(error))
        except BufferUnwritable as error:
            copy.unlink(missing_ok=True)
            raise BufferUnwritable(error.reason, reopen=True) from error
        else:
            _LOG.error("the buffer was taken away; what it held goes into a new one", file=str(self.path))
        closed(db)
        # SQLite leaves the log of a file that is not there any more: it is not for the file that has come instead.
        if _inode(self._log) == self._inodes[1]:
            self._log.unlink(missing_ok=True)

    @property
    def _mounted(self) -> bool:
        return self.mount is None or os.path.ismount(self.mount)

    def _there(self) -> tuple[object, object]:
        return _inode(self.path), _inode(self._log)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _on_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(path.parent)
