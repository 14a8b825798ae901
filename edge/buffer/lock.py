"""One daemon per buffer: a lock that the kernel releases when its holder dies, however it dies."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from edge.errors import BufferInUse, DataDirUnusable

_PATIENCE_S = 1.0


class BufferLock:
    """Held from entry to exit. Raises BufferInUse on entry when another process holds it, or DataDirUnusable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> "BufferLock":
        try:
            fd = _open(self._path, os.O_RDWR | os.O_CREAT)
        except DataDirUnusable:
            # On a disk that is read-only by now, the lock of the start before will do.
            if not self._path.is_file():
                raise
            fd = _open(self._path, os.O_RDONLY)
        deadline_s = time.monotonic() + _PATIENCE_S
        # `held` takes the lock for an instant; a daemon that starts just then must not give up.
        while not _try(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline_s:
                holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise BufferInUse(str(self._path.with_suffix(".sqlite")), holder)
            time.sleep(0.02)
        # Only for people: on a full disk the lock is held all the same.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def held(path: Path) -> bool:
    """Whether a living process holds the lock. Raises DataDirUnusable."""
    try:
        fd = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataDirUnusable(str(path), str(error.strerror)) from error


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
