"""What becomes of alerts, as it does, as server-sent events. A client that comes back goes on where it was."""

import json
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
from fastapi import APIRouter
from psycopg_pool import PoolTimeout, TooManyRequests
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, PartsAre
from cloud.api.database import Caller, Databases
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
from cloud.api.http.places import Placed
from cloud.api.parts import Parts
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
_QUERIES = Queries("api_alerts")
_PAUSE_S = 2.0
_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {
        "description": (
            "Events. begin: from here on. alerts: [{event_id, alert_id, kind, at, text, rule, severity, state, subject,"
            " message}], what became of some, once each. end: {reason}; log in or refresh and come back. A"
            " comment comes each 15 s. Come back with the id of the last event as Last-Event-ID."
        ),
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **problems(401, 422, 429),
}


@router.get("/live", openapi_extra=reach(user="own", operator="region"), responses=_ANSWERS, response_class=Response)
async def live(given: LastEventId, caller: CallerIs, parts: PartsAre) -> Response:
    """What becomes of alerts that the caller may see, as their preferences have it: nothing without notify_web, of
    rules that are off, of what is less than alert_severity_min, nor during maintenance. At most 4 streams of a user."""
    cursor = None if not given else cursor_of(given)
    try:
        # What is wrong is told before the stream begins; what waits is told in it.
        begin, _ = await _came(parts.databases, caller, None)
        if cursor is not None:
            await _came(parts.databases, caller, cursor)
    except psycopg.DataError:
        if cursor is None:
            raise
        raise Malformed(NO_CURSOR, where="header.Last-Event-ID") from None
    parts.streams.take(caller.access.user_id)
    return Placed(
        _events(parts, caller, cursor or begin),
        places=parts.streams,
        user_id=caller.access.user_id,
        headers=HEADERS,
        media_type=MEDIA_TYPE,
    )


async def _events(parts: Parts, caller: Caller, cursor: str) -> AsyncGenerator[bytes, None]:
    yield RETRY + event("begin", b"{}", cursor)
    spoken_s = time.monotonic()
    while not parts.stopping.is_set():
        now = datetime.now(UTC)
        if now >= caller.access.expires_at:
            yield event("end", b'{"reason":"the access token is too old; refresh it"}')
            return
        try:
            # Each time anew: whose session is over, or whose meter it was, hears no more.
            following, found = await _came(parts.databases, replace(caller, now=now), cursor)
        except Problem as refused:
            yield event("end", json.dumps({"reason": refused.detail}).encode())
            return
        except psycopg.DataError:
            yield event("end", json.dumps({"reason": f"the database is another one now: {ANEW}"}).encode())
            return
        except (psycopg.OperationalError, TooManyRequests, PoolTimeout):
            # The database may be away for a while; nothing is missed, as the cursor stays.
            following, found = cursor, []
        cursor = following
        if found:
            yield event("alerts", json.dumps(found).encode(), cursor)
            spoken_s = time.monotonic()
        elif time.monotonic() - spoken_s >= HEARTBEAT_S:
            yield comment(f"{now:%H:%M:%S}", cursor)
            spoken_s = time.monotonic()
        if cursor.count("/") == 1:
            await stopped(parts.stopping, _PAUSE_S)


async def _came(databases: Databases, caller: Caller, cursor: str | None) -> tuple[str, list[dict[str, object]]]:
    """What became since, and the next cursor, which has more than one slash where more waits."""
    async with databases.domain(caller) as domain:
        row = await domain.row(_QUERIES["live"], {"cursor": cursor, "now": caller.now})
    assert row is not None
    return row["cursor"], row["events"]
