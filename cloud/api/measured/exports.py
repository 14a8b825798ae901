"""Exports: a meter's intervals as a file, sent while they are read."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre, PartsAre
from cloud.api.database import Caller, Databases
from cloud.api.http.envelope import problems
from cloud.api.http.places import Placed
from cloud.api.http.spans import Span
from cloud.api.measured.readable import readable
from cloud.api.registry.meters import Code
from cloud.exports import comma_separated, green_button, parquet
from cloud.exports.row import Row, Rows
from cloud.telemetry import reads
from cloud.telemetry.rows import Interval

router = APIRouter(prefix="/api/v1/telemetry/meters/{code}", tags=["exports"])
Resolution = Literal["1m", "15m", "1h", "1d", "1mo"]
# What is read at once, and then no more than is sent: some thousands of intervals.
_WINDOWS = {"1m": timedelta(hours=72), "15m": timedelta(days=40), "1h": timedelta(days=160)}
_LIMIT = 50_000
_LONGEST_OF_MINUTES = timedelta(days=100)
_ENDINGS = {"csv": "csv", "parquet": "parquet", "green-button": "xml"}
_TYPES = {
    "csv": comma_separated.MEDIA_TYPE,
    "parquet": parquet.MEDIA_TYPE,
    "green-button": green_button.MEDIA_TYPE,
}


class Wanted(Span):
    """What to export."""

    format: Annotated[
        Literal["csv", "parquet", "green-button"],
        Field(description="csv, with the meter's local times and their offset; parquet; green-button, ESPI as Atom."),
    ]
    resolution: Annotated[Resolution, Field(description="Length of an interval.")] = "15m"

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.resolution == "1m" and self.until - self.since > _LONGEST_OF_MINUTES:
            raise ValueError("ask for 100 days of minutes at most")
        return self


_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The file. One that breaks on the way ends without the end of its transfer: it is not whole.",
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _TYPES.values()},
        "headers": {"Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}}},
    },
    **problems(401, 404, 422, 429),
}


@router.get(
    "/export", openapi_extra=reach("meter", user="own", operator="region"), responses=_ANSWERS, response_class=Response
)
async def export(
    code: Code, wanted: Annotated[Wanted, Query()], caller: CallerIs, databases: DatabasesAre, parts: PartsAre
) -> Response:
    """Energy and power of the intervals that the span touches, as a file. Days and months are local to the meter."""
    meter = await readable(databases, caller, code, "export", (wanted.since, wanted.until))
    pages = _pages(databases, caller, code, wanted)
    # What fails before anything is sent is told as everywhere else.
    first: Sequence[Interval] = await anext(pages, [])
    zone, user_id = ZoneInfo(meter.timezone), caller.access.user_id
    parts.exports.take(user_id)
    name = f"{code}-{wanted.since.astimezone(zone):%Y%m%d}-{wanted.resolution}.{_ENDINGS[wanted.format]}"
    return Placed(
        _file(_rows(code, first, pages), code, wanted, caller, zone),
        places=parts.exports,
        user_id=user_id,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        media_type=_TYPES[wanted.format],
    )


async def _file(rows: Rows, code: str, wanted: Wanted, caller: Caller, zone: ZoneInfo) -> AsyncGenerator[bytes, None]:
    if wanted.format == "csv":
        content: AsyncIterator[bytes] = comma_separated.comma_separated(rows, zone=zone)
    elif wanted.format == "parquet":
        content = parquet.parquet(rows)
    else:
        feed = green_button.Feed(
            meter=code,
            title=f"Meter {code}",
            customer=str(caller.access.user_id),
            zone=zone,
            first=wanted.since,
            last=wanted.until,
            resolution=wanted.resolution,
            updated=caller.now,
        )
        content = green_button.green_button(rows, feed)
    async for part in content:
        yield part


async def _rows(code: str, first: Sequence[Interval], pages: AsyncIterator[Sequence[Interval]]) -> Rows:
    for interval in first:
        yield _row(code, interval)
    async for page in pages:
        for interval in page:
            yield _row(code, interval)


async def _pages(databases: Databases, caller: Caller, code: str, wanted: Wanted) -> AsyncIterator[Sequence[Interval]]:
    """Each in a transaction of its own, which waits for no slow reader; who may no longer read gets no more."""
    begin, window = wanted.since, _WINDOWS.get(wanted.resolution)
    while begin < wanted.until:
        end = wanted.until if window is None else min(wanted.until, _hour(begin + window))
        meter = await readable(databases, caller, code, "export", (begin, end))
        async with databases.telemetry(meter.grants) as telemetry:
            page = await telemetry.ask(
                reads.history,
                meter_id=meter.meter_id,
                since=begin,
                until=end,
                resolution=wanted.resolution,
                limit=_LIMIT,
            )
        yield page
        begin = end


def _hour(at: datetime) -> datetime:
    """The last whole hour, UTC: no interval that a window may have lies on both sides of it."""
    return at - timedelta(seconds=at.timestamp() % 3600)


def _row(code: str, interval: Interval) -> Row:
    return Row(
        meter=code,
        start=interval.start_time,
        end=interval.end_time,
        import_wh=interval.energy_import_wh,
        export_wh=interval.energy_export_wh,
        power_mean_w=interval.power_w_mean,
        power_min_w=interval.power_w_min,
        power_max_w=interval.power_w_max,
        coverage_percent=interval.coverage,
        quality=interval.quality,
        version=interval.version,
    )
