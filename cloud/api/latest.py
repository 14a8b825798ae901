"""What meters told last: what screens ask for all the time."""

from dataclasses import fields
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.envelope import Success
from cloud.api.etag import IfNoneMatch, answer, polled
from cloud.api.meters import Code
from cloud.api.readable import all_readable, whole
from cloud.api.spans import Nothing
from cloud.telemetry import reads
from cloud.telemetry.rows import Reading, Values

router = APIRouter(prefix="/api/v1/telemetry", tags=["telemetry"])
_KEPT, _AHEAD = timedelta(days=7), timedelta(days=1)
"""How far back readings are kept; a meter's own clock may be ahead."""
VALUES = tuple(field.name for field in fields(Values))


class Latest(BaseModel):
    """The newest reading of a meter."""

    code: Annotated[str, Field(description="Code of the meter.")]
    reading: Annotated[Values | None, Field(description="Null where nothing is kept that the caller may read.")]


class Several(BaseModel):
    """Which meters."""

    model_config = ConfigDict(extra="forbid")

    meter: Annotated[
        list[Annotated[str, Field(max_length=40)]],
        Field(min_length=1, max_length=100, description="Codes of meters, each once.", examples=[["MTR-00000001"]]),
    ]


def values(row: Values) -> dict[str, object]:
    """A reading as it is shown, without the number of its meter."""
    return {name: getattr(row, name) for name in VALUES}


@router.get("/meters/{code}/latest", responses=polled(401, 404, 422), response_model=Success[Latest])
async def latest(
    code: Code, nothing: Annotated[Nothing, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """The newest reading of a meter within the last 7 days, while it was the caller's."""
    [found] = await _latest([code], caller, databases)
    return answer(given, "The newest reading.", found)


@router.get("/latest", responses=polled(401, 404, 422), response_model=Success[list[Latest]])
async def latest_of_several(
    several: Annotated[Several, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """The newest reading of each of up to 100 meters, in the order in which they are named."""
    found = await _latest(several.meter, caller, databases)
    return answer(given, "The newest readings.", found, {"next": None, "count": len(found)})


async def _latest(codes: list[str], caller: CallerIs, databases: DatabasesAre) -> list[dict[str, object]]:
    meters = await all_readable(databases, caller, codes)
    async with databases.telemetry(whole(meters)) as telemetry:
        rows: list[Reading] = await reads.latest(
            telemetry.connection,
            meters=[meter.meter_id for meter in meters],
            since=caller.now - _KEPT,
            until=caller.now + _AHEAD,
        )
    newest = {row.meter_id: values(row) for row in rows}
    return [{"code": meter.code, "reading": newest.get(meter.meter_id)} for meter in meters]
