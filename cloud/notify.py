"""Tells systemd how the process fares: sd_notify(3) over the socket that NOTIFY_SOCKET names."""

import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog

_log = structlog.get_logger()


class Notifier:
    """Messages to the service manager. Does nothing where there is none (`NOTIFY_SOCKET` is unset).

    `watchdog_s` is how often systemd wants `watchdog()` at the latest, None when it does not: feed it twice as often,
    and only while the work moves.
    """

    def __init__(self, *, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            # The manager may be slow; a full queue must not hold up the work.
            self._socket.setblocking(False)
        wanted = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period_us = int(environ.get("WATCHDOG_USEC", "0") or "0") if wanted else 0
        self.watchdog_s = period_us / 1e6 if period_us > 0 else None

    def ready(self) -> None:
        """The process does its work from now on."""
        self._send("READY=1")

    def stopping(self) -> None:
        """A stop was asked for."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def watchdog(self) -> None:
        """The work moved."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        # A leading @ stands for the NUL of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("notify_failed", message=message, error=str(error))
