"""One daemon per buffer: a lock that the kernel releases when its holder dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from edge.errors import BufferInUse

_PATIENCE_S = 1.0


class BufferLock:
    """Held from entry to exit. Raises BufferInUse on entry when another process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> "BufferLock":
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline_s = time.monotonic() + _PATIENCE_S
        # `held` takes the lock for an instant; a daemon that starts just then must not give up.
        while not _try(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline_s:
                holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise BufferInUse(str(self._path.with_suffix(".sqlite")), holder)
            time.sleep(0.02)
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
