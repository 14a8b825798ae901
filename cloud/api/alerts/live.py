"""What becomes of alerts, as it does, as server-sent events. A client that comes back goes on where it was."""

import json

from fastapi import APIRouter
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, PartsAre
from cloud.api.database import Caller
from cloud.api.http.envelope import problems
from cloud.api.http.events import MEDIA_TYPE, LastEventId
from cloud.api.stream import Came, Stream
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

    async def came(who: Caller, cursor: str | None) -> Came:
        async with parts.databases.domain(who) as domain:
            row = await domain.row(_QUERIES["live"], {"cursor": cursor, "now": who.now})
        assert row is not None
        told = json.dumps(row["events"]).encode() if row["events"] else None
        return Came(cursor=row["cursor"], data=told, more=row["cursor"].count("/") > 1)

    return await Stream(name="alerts", pause_s=_PAUSE_S, came=came).answer(parts, caller, given)
