"""Readings as they arrive, as server-sent events (WHATWG HTML, 9.2). A client that comes back goes on where it was."""

import asyncio
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import psycopg
from fastapi import APIRouter, Depends, Header, Query
from psycopg_pool import TooManyRequests
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, PartsAre
from cloud.api.database import Caller
from cloud.api.http.envelope import problems
from cloud.api.http.errors import Malformed, Problem
from cloud.api.http.fields import printable
from cloud.api.http.places import Placed
from cloud.api.parts import Parts

router = APIRouter(prefix="/api/v1/telemetry", tags=["telemetry"])
_MEDIA_TYPE = "text/event-stream"
_PAUSE_S, _HEARTBEAT_S, _RETRY_MS = 1.0, 15.0, 2000
_CURSOR = re.compile(r"[-0-9@:,/]{1,6000}")
_ANEW = "begin without an id"
_NO_CURSOR = f"this is no id of an event of this service, or of a database that was replaced; {_ANEW}"


async def _last_event_id(
    given: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=8000,
            description="Id of the last event that the client has.",
            examples=["NzQxMjM0NTY3ODkwMTIzNDU2N0AxMDA6MTAwOg"],
        ),
    ] = None,
) -> str | None:
    return given


class Watched(BaseModel):
    """Which meters."""

    model_config = ConfigDict(extra="forbid")

    meter: Annotated[
        list[Annotated[str, Field(max_length=40), AfterValidator(printable)]],
        Field(min_length=1, max_length=20, description="Codes of meters.", examples=[["MTR-00000001"]]),
    ]


_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {
        "description": (
            "Events. begin: from here on. readings: {code: [readings as in latest, in order of time]}, once each, when"
            " they arrive, so that late ones come late. end: {reason}; log in or refresh and come back. A"
            " comment comes each 15 s. Come back with the id of the last event as Last-Event-ID."
        ),
        "content": {_MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **problems(401, 404, 422, 429),
}


@router.get(
    "/live", openapi_extra=reach("meter", user="own", operator="region"), responses=_ANSWERS, response_class=Response
)
async def live(
    watched: Annotated[Watched, Query()],
    given: Annotated[str | None, Depends(_last_event_id)],
    caller: CallerIs,
    parts: PartsAre,
) -> Response:
    """Readings of up to 20 meters as they arrive. At most 4 streams of a user, until the access token is too old."""
    codes = list(dict.fromkeys(watched.meter))
    cursor = None if not given else _cursor(given)
    try:
        # What is wrong is told before the stream begins.
        begin, _ = await parts.quick.arrivals(caller, codes, None)
        if cursor is not None:
            await parts.quick.arrivals(caller, codes, cursor)
    except psycopg.DataError:
        if cursor is None:
            raise
        raise Malformed(_NO_CURSOR, where="header.Last-Event-ID") from None
    parts.streams.take(caller.access.user_id)
    return Placed(
        _events(parts, caller, codes, cursor or begin),
        places=parts.streams,
        user_id=caller.access.user_id,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        media_type=_MEDIA_TYPE,
    )


async def _events(parts: Parts, caller: Caller, codes: list[str], cursor: str) -> AsyncGenerator[bytes, None]:
    yield f"retry: {_RETRY_MS}\n".encode() + _event("begin", b"{}", cursor)
    spoken_s = time.monotonic()
    while not parts.stopping.is_set():
        now = datetime.now(UTC)
        if now >= caller.access.expires_at:
            yield _event("end", b'{"reason":"the access token is too old; refresh it"}')
            return
        try:
            # Each time anew: whose session is over, or whose meter it was, hears no more.
            following, found = await parts.quick.arrivals(replace(caller, now=now), codes, cursor)
        except Problem as refused:
            yield _event("end", json.dumps({"reason": refused.detail}).encode())
            return
        except psycopg.DataError:
            yield _event("end", json.dumps({"reason": f"the database is another one now: {_ANEW}"}).encode())
            return
        except (psycopg.OperationalError, TooManyRequests):
            # The databases may be away for a while; nothing is missed, as the cursor stays.
            following, found = cursor, {}
        cursor = following
        if found:
            yield _event("readings", msgspec.json.encode(found), cursor)
            spoken_s = time.monotonic()
        elif time.monotonic() - spoken_s >= _HEARTBEAT_S:
            yield f": {now:%H:%M:%S}\nid: {_id(cursor)}\n\n".encode()
            spoken_s = time.monotonic()
        if "/" not in cursor:
            await _stopped(parts.stopping)


async def _stopped(stopping: asyncio.Event) -> None:
    """Until then, or for the pause between two looks."""
    try:
        async with asyncio.timeout(_PAUSE_S):
            await stopping.wait()
    except TimeoutError:
        pass


def _event(name: str, data: bytes, cursor: str | None = None) -> bytes:
    head = f"event: {name}\n" + ("" if cursor is None else f"id: {_id(cursor)}\n")
    return head.encode() + b"data: " + data + b"\n\n"


def _id(cursor: str) -> str:
    return urlsafe_b64encode(cursor.encode()).rstrip(b"=").decode()


def _cursor(given: str) -> str:
    """Raises Malformed."""
    try:
        text = urlsafe_b64decode(given.encode() + b"=" * (-len(given) % 4)).decode("ascii")
    except (Error, ValueError):
        text = ""
    if not _CURSOR.fullmatch(text):
        raise Malformed(_NO_CURSOR, where="header.Last-Event-ID")
    return text
