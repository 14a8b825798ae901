"""Tells systemd how the process fares: sd_notify(3) over the socket that NOTIFY_SOCKET names."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Messages to the service manager; nothing is sent where there is none.

    `watchdog_s` is how often it wants to hear `alive` at the latest, None for never.
    """

    def __init__(self, *, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        usec = environment.get("WATCHDOG_USEC", "")
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        watched = usec.isdecimal() and int(usec) > 0 and meant_for == str(os.getpid())
        self.watchdog_s = int(usec) / 1e6 if watched else None

    def ready(self) -> None:
        """The process does its work from now on."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """The work moved: for the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """A stop was asked for."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the NUL of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
            # The work must not wait for a manager that does not read.
            client.setblocking(False)
            try:
                client.sendto(message.encode(), address)
            except OSError:
                return  # A manager that does not listen is no reason to stop the work.
