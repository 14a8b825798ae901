"""The data folder: everything that local servers and services keep on this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.servers.errors import ServerError

_CHECKOUT = Path(__file__).resolve().parents[2]


def segs_home() -> Path:
    """The data folder, created if need be: SEGS_HOME, else `.segs` beside pyproject.toml (or in the current folder).

    Raises ServerError.
    """
    configured = os.environ.get("SEGS_HOME")
    if configured:
        home = Path(configured).expanduser()
    else:
        home = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()) / ".segs"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(f"{home}: {error.strerror}; set SEGS_HOME to a folder of your own") from error
    return home.resolve()


@contextmanager
def locked(file: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold the advisory lock of `file`; waits for another process or thread that holds it. Raises ServerError.

    With `busy` it does not wait, but raises that.
    The kernel drops the lock when its holder dies, so kill -9 leaves nothing to clean up.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise ServerError(
            f"{file.parent} belongs to another user (was it made by root?); "
            "go on as that user, set SEGS_HOME to a folder of your own, or remove it"
        ) from None
    except OSError as error:
        raise ServerError(f"{file}: {error.strerror}; set SEGS_HOME to a folder of your own") from error
    try:
        _wait(descriptor, busy)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, busy: str | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except BlockingIOError:
        raise ServerError(str(busy)) from None
