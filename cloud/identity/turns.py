"""Those of one client one after the other, so that whoever sends many waits for themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cloud.identity.errors import TooBusy


@dataclass(slots=True)
class _Turn:
    """One client's: `waiting` includes whose turn it is."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Turns:
    """Of one process. At most `most` of a client wait, whose turn it is among them."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def of(self, whose: str | None) -> AsyncIterator[None]:
        """Within it nobody else is of the same name; who has none waits for nobody. Raises TooBusy."""
        if whose is None:
            yield
            return
        turn = self._turns.setdefault(whose, _Turn())
        if turn.waiting >= self._most:
            raise TooBusy(turn.waiting)
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[whose]
