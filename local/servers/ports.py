"""Loopback ports."""

from __future__ import annotations

import socket
from pathlib import Path

from local.servers.errors import PortTakenError


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def choose_port(*, asked: int | None, kept_in: Path) -> int:
    """The port to start on: the one asked for, else the one noted in `kept_in`, else a free one.

    Raises PortTakenError when the one asked for is not free.
    """
    if asked is None:
        return _kept_port(kept_in) or free_port()
    if not _is_free(asked):
        raise PortTakenError(asked)
    return asked


def _is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port in TIME_WAIT after a kill is free for a server, which sets this option as well.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _kept_port(file: Path) -> int | None:
    """The port that a server noted in `file`, if it is free: whoever knew the server finds it again."""
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        return None
    return port if _is_free(port) else None
