"""Readings as they arrive, as server-sent events. A client that comes back goes on where it was."""

import json
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import psycopg
from fastapi import APIRouter, Query
from psycopg_pool import TooManyRequests
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, PartsAre
from cloud.api.database import Caller
from cloud.api.http.envelope import problems
from cloud.api.http.errors import Malformed, Problem
from cloud.api.http.events import (
    ANEW,
    HEADERS,
    HEARTBEAT_S,
    MEDIA_TYPE,
    NO_CURSOR,
    RETRY,
    LastEventId,
    comment,
    cursor_of,
    event,
    stopped,
)
from cloud.api.http.fields import printable
from cloud.api.http.places import Placed
from cloud.api.parts import Parts

router = APIRouter(prefix="/api/v1/telemetry", tags=["telemetry"])
_PAUSE_S = 1.0


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
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **problems(401, 404, 422, 429),
}


@router.get(
    "/live", openapi_extra=reach("meter", user="own", operator="region"), responses=_ANSWERS, response_class=Response
)
async def live(
    watched: Annotated[Watched, Query()],
    given: LastEventId,
    caller: CallerIs,
    parts: PartsAre,
) -> Response:
    """Readings of up to 20 meters as they arrive. At most 4 streams of a user, until the access token is too old."""
    codes = list(dict.fromkeys(watched.meter))
    cursor = None if not given else cursor_of(given)
    try:
        # What is wrong is told before the stream begins.
        begin, _ = await parts.quick.arrivals(caller, codes, None)
        if cursor is not None:
            await parts.quick.arrivals(caller, codes, cursor)
    except psycopg.DataError:
        if cursor is None:
            raise
        raise Malformed(NO_CURSOR, where="header.Last-Event-ID") from None
    parts.streams.take(caller.access.user_id)
    return Placed(
        _events(parts, caller, codes, cursor or begin),
        places=parts.streams,
        user_id=caller.access.user_id,
        headers=HEADERS,
        media_type=MEDIA_TYPE,
    )


async def _events(parts: Parts, caller: Caller, codes: list[str], cursor: str) -> AsyncGenerator[bytes, None]:
    yield RETRY + event("begin", b"{}", cursor)
    spoken_s = time.monotonic()
    while not parts.stopping.is_set():
        now = datetime.now(UTC)
        if now >= caller.access.expires_at:
            yield event("end", b'{"reason":"the access token is too old; refresh it"}')
            return
        try:
            # Each time anew: whose session is over, or whose meter it was, hears no more.
            following, found = await parts.quick.arrivals(replace(caller, now=now), codes, cursor)
        except Problem as refused:
            yield event("end", json.dumps({"reason": refused.detail}).encode())
            return
        except psycopg.DataError:
            yield event("end", json.dumps({"reason": f"the database is another one now: {ANEW}"}).encode())
            return
        except (psycopg.OperationalError, TooManyRequests):
            # The databases may be away for a while; nothing is missed, as the cursor stays.
            following, found = cursor, {}
        cursor = following
        if found:
            yield event("readings", msgspec.json.encode(found), cursor)
            spoken_s = time.monotonic()
        elif time.monotonic() - spoken_s >= HEARTBEAT_S:
            yield comment(f"{now:%H:%M:%S}", cursor)
            spoken_s = time.monotonic()
        if "/" not in cursor:
            await stopped(parts.stopping, _PAUSE_S)
