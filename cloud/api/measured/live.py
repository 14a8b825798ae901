"""Readings as they arrive, as server-sent events. A client that comes back goes on where it was."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, PartsAre
from cloud.api.database import Caller
from cloud.api.http.envelope import problems
from cloud.api.http.events import MEDIA_TYPE, LastEventId
from cloud.api.http.fields import printable
from cloud.api.stream import Came, Stream

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

    async def came(who: Caller, cursor: str | None) -> Came:
        following, found = await parts.quick.arrivals(who, codes, cursor)
        return Came(cursor=following, data=msgspec.json.encode(found) if found else None, more="/" in following)

    return await Stream(name="readings", pause_s=_PAUSE_S, came=came).answer(parts, caller, given)
