"""What a region takes, for those who look after it."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Success
from cloud.api.http.errors import Malformed
from cloud.api.http.etag import IfNoneMatch, answer, polled
from cloud.api.http.fields import printable
from cloud.api.http.spans import Nothing, Page, Span
from cloud.api.measured.readable import found_in_region, readable_region
from cloud.telemetry import reads
from cloud.telemetry.rows import RegionLoad, RegionQuarter

router = APIRouter(prefix="/api/v1/telemetry/regions/{region}", tags=["telemetry"])
_LONGEST = timedelta(days=31)
Name = Annotated[
    str, Path(max_length=63, description="Name of the region.", examples=["north"]), AfterValidator(printable)
]


class Now(BaseModel):
    """A region now."""

    region: Annotated[str, Field(description="Name of the region.")]
    periods: Annotated[
        list[RegionLoad],
        Field(description="The latest quarter-hour, the last hour, the last day; those that are known."),
    ]


class Course(BaseModel):
    """Quarter-hours of a region in order of time."""

    region: Annotated[str, Field(description="Name of the region.")]
    intervals: Annotated[list[RegionQuarter], Field(description="Those of which anything is known.")]


class Most(Span):
    """Of which span, and how many."""

    limit: Annotated[int, Field(ge=1, le=100, description="Meters at most.")] = 10


class Consumer(BaseModel):
    """A meter among those that take the most."""

    rank: Annotated[int, Field(description="Position in the list: 1 for who takes the most.")]
    code: Annotated[str, Field(description="Code of the meter.")]
    energy_import_wh: Annotated[int, Field(description="Energy taken from the grid while it was in the region, Wh.")]
    share_percent: Annotated[float | None, Field(description="Of what all meters of the region took, percent.")]
    coverage: Annotated[float, Field(description="How much of the span was read, percent.")]
    quality: Annotated[int, Field(description="ESPI QualityOfReading, the worst of what is in it.")]
    missing: Annotated[int, Field(description="Quarter-hours of which nothing is known.")]


class Consumers(BaseModel):
    """Meters that take the most, the first one first."""

    region: Annotated[str, Field(description="Name of the region.")]
    consumers: Annotated[list[Consumer], Field(description="At most as many as were asked for.")]


@router.get(
    "/statistics",
    openapi_extra=reach("region", operator="region", refusal=404),
    responses=polled(401, 404, 422),
    response_model=Success[Now],
)
async def region_statistics(
    region: Name, nothing: Annotated[Nothing, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Power, load and energy of a region. For its operators and for admins; to others it is not there."""
    grants = await readable_region(databases, caller, region, "statistics")
    async with databases.telemetry(grants) as telemetry:
        rows = await telemetry.ask(reads.regions, names=[region], now=caller.now)
    return answer(given, "The region now.", {"region": region, "periods": rows})


@router.get(
    "/history",
    openapi_extra=reach("region", operator="region", refusal=404),
    responses=polled(401, 404, 422),
    response_model=Success[Course],
)
async def region_history(
    region: Name, page: Annotated[Page, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Quarter-hours of a region, a page at a time. For its operators and for admins."""
    paged, begin = page.begin()
    if paged not in (None, "15m"):
        raise Malformed("the cursor is of another question", where="query.cursor")
    grants = await readable_region(databases, caller, region, "history")
    async with databases.telemetry(grants) as telemetry:
        rows = await telemetry.ask(
            reads.region_history, region=region, since=begin, until=page.until, limit=page.limit + 1
        )
    shown = rows[: page.limit]
    following = page.next("15m", shown[-1].end_time) if len(rows) > page.limit else None
    meta = {"next": following, "count": len(shown)}
    return answer(given, "The region's history.", {"region": region, "intervals": shown}, meta)


@router.get(
    "/top-consumers",
    openapi_extra=reach("region", operator="region", refusal=404),
    responses=polled(401, 404, 422),
    response_model=Success[Consumers],
)
async def top_consumers(
    region: Name, most: Annotated[Most, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """The meters that take the most, in 31 days at most. For the region's operators and for admins."""
    if most.until - most.since > _LONGEST:
        raise Malformed("ask for 31 days at most", where="query.to")
    grants = await readable_region(databases, caller, region, "top-consumers")
    async with databases.telemetry(grants) as telemetry:
        rows = await telemetry.ask(
            reads.top_consumers, region=region, since=most.since, until=most.until, limit=most.limit
        )
    await found_in_region(databases, caller, "top-consumers", [row.meter_id for row in rows])
    found = [
        Consumer(
            rank=row.nth,
            code=row.meter_code,
            energy_import_wh=row.energy_import_wh,
            share_percent=row.share_percent,
            coverage=row.coverage,
            quality=row.quality,
            missing=row.missing,
        ).model_dump()
        for row in rows
    ]
    meta = {"next": None, "count": len(found)}
    return answer(given, "Who takes the most.", {"region": region, "consumers": found}, meta)
