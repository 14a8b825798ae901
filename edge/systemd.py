"""sd_notify: a datagram to the service manager, nothing without one."""

import os
import socket
from collections.abc import Mapping


class Notifier:
    """`address` is that of NOTIFY_SOCKET, an abstract one begins with @; None makes every call do nothing.

    `watchdog_s` is how often the service manager wants to hear WATCHDOG=1 at the latest, None for never.
    """

    def __init__(self, *, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = address

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        usec = environment.get("WATCHDOG_USEC", "")
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        watched = usec.isdigit() and int(usec) > 0 and meant_for == str(os.getpid())
        return cls(address=environment.get("NOTIFY_SOCKET"), watchdog_s=int(usec) / 1e6 if watched else None)

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
            # The loop that polls must not wait for a manager that does not read.
            client.setblocking(False)
            try:
                client.sendto(message.encode(), address)
            except OSError:
                return  # A manager that does not listen is no reason to stop metering.
