"""A broker's window: when it is full of what waits for its commit, nothing more comes before that."""

import asyncio
from collections.abc import Callable

from edge.drivers.mqtt.connection import Connection

# A broker whose window is full waits for us: looked for so long after an acknowledgement. No broker's is smaller.
_SMALLEST, _FULL_S = 10, 0.05


class Window:
    """Calls `hurry` when the window of the connection is full.

    How wide it is only the broker knows; it is taken for full when as many wait as ever did.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._connection: Connection | None = None
        self._peak = self._messages = self._seen = 0
        self._look: asyncio.TimerHandle | None = None

    def connected(self, connection: Connection) -> None:
        self._connection, self._peak = connection, 0

    def took(self, count: int) -> None:
        """`count` more messages came."""
        self._messages += count

    def acknowledges(self) -> None:
        """To be told just before what waits is acknowledged."""
        if self._connection is not None:
            self._peak = max(self._peak, self._connection.open_ids)
        if self._look is None:
            self._look_soon()

    def close(self) -> None:
        self._connection = None
        if self._look is not None:
            self._look.cancel()

    def _look_soon(self) -> None:
        self._seen = self._messages
        self._look = asyncio.get_running_loop().call_later(_FULL_S, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        if self._connection is None:
            return
        if self._connection.open_ids >= max(self._peak, _SMALLEST):
            self._hurry()
        elif self._messages != self._seen:
            self._look_soon()
