"""A stream of what comes, as server-sent events. A client that comes back goes on where it was."""

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg
from starlette.responses import Response

from cloud.api.database import Caller
from cloud.api.http.errors import Malformed, Problem
from cloud.api.http.events import (
    ANEW,
    HEADERS,
    HEARTBEAT_S,
    MEDIA_TYPE,
    NO_CURSOR,
    RETRY,
    comment,
    cursor_of,
    event,
    stopped,
)
from cloud.api.http.places import Placed
from cloud.api.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came since a cursor: `data` is JSON, None for nothing; `more` says that some waits beyond `cursor`."""

    cursor: str
    data: bytes | None
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Events of one `name`. Between two looks are `pause_s`, seconds.

    `came` looks as a caller, since a cursor; None begins now. It raises Problem for who may not look, psycopg.DataError
    for what is no cursor.
    """

    name: str
    pause_s: float
    came: Callable[[Caller, str | None], Awaitable[Came]]

    async def answer(self, parts: Parts, caller: Caller, given: str | None) -> Response:
        """The stream, from the event with the id `given` on. Raises Malformed for an id that is none, TooMany, and what
        `came` raises, all before it begins."""
        cursor = None if not given else cursor_of(given)
        try:
            # What is wrong is told before the stream begins; what waits is told in it.
            begin = await self.came(caller, None)
            if cursor is not None:
                await self.came(caller, cursor)
        except psycopg.DataError:
            if cursor is None:
                raise
            raise Malformed(NO_CURSOR, where="header.Last-Event-ID") from None
        parts.streams.take(caller.access.user_id)
        return Placed(
            self._events(parts, caller, cursor or begin.cursor),
            places=parts.streams,
            user_id=caller.access.user_id,
            headers=HEADERS,
            media_type=MEDIA_TYPE,
        )

    async def _events(self, parts: Parts, caller: Caller, cursor: str) -> AsyncGenerator[bytes, None]:
        yield RETRY + event("begin", b"{}", cursor)
        spoken_s = time.monotonic()
        while not parts.stopping.is_set():
            now = datetime.now(UTC)
            if now >= caller.access.expires_at:
                yield event("end", b'{"reason":"the access token is too old; refresh it"}')
                return
            try:
                # Each time anew: whose session is over, or whose meter it was, hears no more.
                found = await self.came(replace(caller, now=now), cursor)
            except Problem as refused:
                yield event("end", json.dumps({"reason": refused.detail}).encode())
                return
            except psycopg.DataError:
                yield event("end", json.dumps({"reason": f"the database is another one now: {ANEW}"}).encode())
                return
            except psycopg.OperationalError:
                # The databases may be away, or their pools full, for a while; nothing is missed, as the cursor stays.
                found = Came(cursor=cursor, data=None, more=False)
            cursor = found.cursor
            if found.data is not None:
                yield event(self.name, found.data, cursor)
                spoken_s = time.monotonic()
            elif time.monotonic() - spoken_s >= HEARTBEAT_S:
                yield comment(f"{now:%H:%M:%S}", cursor)
                spoken_s = time.monotonic()
            if not found.more:
                await stopped(parts.stopping, self.pause_s)
