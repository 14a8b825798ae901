"""How long a database may take to answer: one that hangs keeps no time-out of its own."""

import asyncio
import os
import socket
from contextlib import suppress
from types import TracebackType

from psycopg import AsyncConnection, Error


class Patience:
    """While `hurry` holds, `connection` has `limit_s` to answer; then it is cut, and who waits gets OperationalError.

    A cancelled task would ask the server to cancel its query and wait for that, which a server that hangs never does.
    As a context manager it hurries from the beginning, and rests at the end.
    """

    def __init__(self, connection: AsyncConnection, limit_s: float) -> None:
        self._connection, self._limit_s = connection, limit_s
        self._timer: asyncio.TimerHandle | None = None

    def hurry(self) -> None:
        """An answer is waited for from now on."""
        self.rest()
        self._timer = asyncio.get_running_loop().call_later(self._limit_s, self._hang_up)

    def rest(self) -> None:
        """Nothing is asked for now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> "Patience":
        self.hurry()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.rest()

    def _hang_up(self) -> None:
        # Another handle of the same socket: libpq's own stays its own, and it sees the end of what is sent to it.
        with suppress(OSError, Error), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
