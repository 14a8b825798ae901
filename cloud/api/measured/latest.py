"""What meters told last: what screens ask for all the time."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, PartsAre
from cloud.api.http.envelope import Success
from cloud.api.http.etag import IfNoneMatch, Tagged, enveloped, polled
from cloud.api.http.fields import printable
from cloud.api.http.spans import Nothing
from cloud.api.registry.meters import Code
from cloud.telemetry.rows import Values

router = APIRouter(prefix="/api/v1/telemetry", tags=["telemetry"])
VALUES = tuple(field.name for field in fields(Values))


class Latest(BaseModel):
    """The newest reading of a meter."""

    code: Annotated[str, Field(description="Code of the meter.")]
    reading: Annotated[Values | None, Field(description="Null where nothing is kept that the caller may read.")]


class Several(BaseModel):
    """Which meters."""

    model_config = ConfigDict(extra="forbid")

    meter: Annotated[
        list[Annotated[str, Field(max_length=40), AfterValidator(printable)]],
        Field(min_length=1, max_length=100, description="Codes of meters, each once.", examples=[["MTR-00000001"]]),
    ]


def values(row: Values) -> dict[str, object]:
    """A reading as it is shown, without the number of its meter."""
    return {name: getattr(row, name) for name in VALUES}


def say_one(found: Sequence[tuple[str, msgspec.Raw | None]]) -> Tagged:
    """The answer of latest()."""
    [(code, reading)] = found
    return enveloped("The newest reading.", {"code": code, "reading": reading})


def _say_several(found: Sequence[tuple[str, msgspec.Raw | None]]) -> Tagged:
    data = [{"code": code, "reading": reading} for code, reading in found]
    return enveloped("The newest readings.", data, {"next": None, "count": len(data)})


@router.get(
    "/meters/{code}/latest",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Latest],
)
async def latest(
    code: Code, nothing: Annotated[Nothing, Query()], given: IfNoneMatch, caller: CallerIs, parts: PartsAre
) -> Response:
    """The newest reading of a meter within the last 7 days, while it was the caller's."""
    return (await parts.quick.latest(caller, (code,), say_one)).answer(given)


@router.get(
    "/latest",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[list[Latest]],
)
async def latest_of_several(
    several: Annotated[Several, Query()], given: IfNoneMatch, caller: CallerIs, parts: PartsAre
) -> Response:
    """The newest reading of each of up to 100 meters, in the order in which they are named."""
    return (await parts.quick.latest(caller, several.meter, _say_several)).answer(given)
