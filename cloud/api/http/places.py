"""Answers that take their time: how many there may be in this process, and that each gives its place back."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from cloud.api.http.errors import TooMany

_LOG = structlog.get_logger("segs.api")
# What a client may have us wait for it: so long, and besides as long as what it was sent takes at so many bytes/s.
_PATIENCE_S, _SLOWEST = 30.0, 50_000


class Places:
    """`of_one` for each user, `of_all` in all."""

    def __init__(self, *, of_one: int, of_all: int) -> None:
        self._of_one, self._of_all = of_one, of_all
        self._taken: dict[int, int] = {}

    def take(self, user_id: int) -> None:
        """Raises TooMany."""
        if self._taken.get(user_id, 0) >= self._of_one:
            raise TooMany(f"you have {self._of_one} of these under way; wait for one to end", retry_after_s=10)
        if sum(self._taken.values()) >= self._of_all:
            raise TooMany("as many of these are under way as there may be", retry_after_s=10)
        self._taken[user_id] = self._taken.get(user_id, 0) + 1

    def give(self, user_id: int) -> None:
        """Once for each time that it was taken."""
        self._taken[user_id] -= 1
        if not self._taken[user_id]:
            del self._taken[user_id]


class _TooSlow(Exception):
    """The client does not take what is sent to it."""


class Placed(StreamingResponse):
    """A stream that holds a place of `places`, which its maker has taken.

    What fails on the way ends the connection without the end of the transfer, so that nobody takes a part for all. So
    does a client that is too slow to take what it asked for: others wait for its place.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        *,
        places: Places,
        user_id: int,
        headers: Mapping[str, str],
        media_type: str,
        patience_s: float = _PATIENCE_S,
        slowest: float = _SLOWEST,
    ) -> None:
        super().__init__(content, headers=headers, media_type=media_type)
        self._content, self._places, self._user_id = content, places, user_id
        self._patience_s, self._slowest = patience_s, slowest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        clock = asyncio.get_running_loop().time

        async def patient(message: Message) -> None:
            began_s = clock()
            try:
                async with asyncio.timeout(self._patience_s):
                    await send(message)
            except TimeoutError:
                raise _TooSlow from None
            self._patience_s += len(message.get("body", b"")) / self._slowest - (clock() - began_s)

        try:
            await super().__call__(scope, receive, patient)
        except _TooSlow:
            _LOG.warning("too slow", user_id=self._user_id)
        finally:
            self._places.give(self._user_id)
            await self._content.aclose()
