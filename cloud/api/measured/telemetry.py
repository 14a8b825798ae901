"""What a meter measured: its history, what that amounts to, and how complete it is."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Success
from cloud.api.http.errors import Malformed
from cloud.api.http.etag import IfNoneMatch, answer, polled
from cloud.api.http.spans import Days, Page, Span
from cloud.api.measured.forms import (
    Amounts,
    Calendar,
    Chart,
    Compared,
    Complete,
    Fine,
    Grid,
    History,
    Readings,
    Resolution,
    Stretches,
    TwoSpans,
)
from cloud.api.measured.latest import values
from cloud.api.measured.readable import readable
from cloud.api.registry.meters import Code
from cloud.telemetry import reads

router = APIRouter(prefix="/api/v1/telemetry/meters/{code}", tags=["telemetry"])
_WIDTH_PX = 1000
_PERIODS = {"1d": "daily", "1mo": "monthly"}
_MICROSECOND = timedelta(microseconds=1)


@router.get(
    "/history",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[History],
)
async def history(
    code: Code, chart: Annotated[Chart, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Energy and power over time, a page at a time. Days and months are local to the meter."""
    paged, begin = chart.begin()
    meter = await readable(databases, caller, code, "history", (begin, chart.until))
    async with databases.telemetry(meter.grants) as telemetry:
        if chart.resolution != "auto":
            resolution = chart.resolution
        elif paged is not None:
            # What was kept when the first page was asked for stays the same for all of them.
            resolution = _known(paged)
        else:
            resolution = await telemetry.ask(
                reads.resolution,
                since=chart.since,
                until=chart.until,
                pixels=chart.width_px or _WIDTH_PX,
                now=caller.now,
            )
        if paged not in (None, resolution):
            raise Malformed("the cursor is of another resolution", where="query.cursor")
        rows = await telemetry.ask(
            reads.history,
            meter_id=meter.meter_id,
            since=begin,
            until=chart.until,
            resolution=resolution,
            limit=chart.limit + 1,
        )
    shown = rows[: chart.limit]
    data = {"code": code, "resolution": resolution, "timezone": meter.timezone, "intervals": shown}
    end = None
    if len(rows) > chart.limit:
        end = shown[-1].end_time + (_MICROSECOND if resolution == "raw" else timedelta())
    following = None if end is None else chart.next(resolution, end)
    return answer(given, "The meter's history.", data, {"next": following, "count": len(shown)})


@router.get(
    "/readings",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Readings],
)
async def readings(
    code: Code, page: Annotated[Page, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Readings with all that the meter told, a page at a time. They are kept for 7 days."""
    paged, begin = page.begin()
    if paged not in (None, "raw"):
        raise Malformed("the cursor is of another question", where="query.cursor")
    meter = await readable(databases, caller, code, "readings", (begin, page.until))
    async with databases.telemetry(meter.grants) as telemetry:
        rows = await telemetry.ask(
            reads.readings, meter_id=meter.meter_id, since=begin, until=page.until, limit=page.limit + 1
        )
    shown = rows[: page.limit]
    following = page.next("raw", shown[-1].time + _MICROSECOND) if len(rows) > page.limit else None
    data = {"code": code, "readings": [values(row) for row in shown]}
    return answer(given, "The meter's readings.", data, {"next": following, "count": len(shown)})


@router.get(
    "/channels",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Grid],
)
async def channels(
    code: Code, page: Annotated[Fine, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Voltages, currents, frequency and power factor over time, a page at a time."""
    paged, begin = page.begin()
    if paged not in (None, page.resolution):
        raise Malformed("the cursor is of another resolution", where="query.cursor")
    meter = await readable(databases, caller, code, "channels", (begin, page.until))
    async with databases.telemetry(meter.grants) as telemetry:
        rows = await telemetry.ask(
            reads.channels,
            meter_id=meter.meter_id,
            since=begin,
            until=page.until,
            resolution=page.resolution,
            limit=page.limit + 1,
        )
    shown = rows[: page.limit]
    following = page.next(page.resolution, shown[-1].end_time) if len(rows) > page.limit else None
    data = {"code": code, "resolution": page.resolution, "timezone": meter.timezone, "intervals": shown}
    return answer(given, "The meter's channels.", data, {"next": following, "count": len(shown)})


@router.get(
    "/statistics",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Amounts],
)
async def statistics(
    code: Code, span: Annotated[Span, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """What a span amounts to, by its quarter-hours as they hold: those that it touches and that have begun."""
    meter = await readable(databases, caller, code, "statistics", span.instants)
    async with databases.telemetry(meter.grants) as telemetry:
        rows = await telemetry.ask(
            reads.statistics, meter_id=meter.meter_id, since=span.since, until=span.until, now=caller.now
        )
    return answer(given, "Statistics.", {"code": code, "parts": rows})


@router.get(
    "/daily",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Calendar],
)
async def daily(
    code: Code, days: Annotated[Days, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Local days of the meter, 1100 at most. A day on which clocks change has 23 or 25 hours."""
    days.at_most(1100)
    return await _calendar(code, days, "1d", given, caller, databases)


@router.get(
    "/monthly",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Calendar],
)
async def monthly(
    code: Code, days: Annotated[Days, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Local months of the meter, of 3700 days at most; of a month that is named in part, that part."""
    days.at_most(3700)
    return await _calendar(code, days, "1mo", given, caller, databases)


async def _calendar(
    code: str,
    days: Days,
    unit: Literal["1d", "1mo"],
    given: str | None,
    caller: CallerIs,
    databases: DatabasesAre,
) -> Response:
    meter = await readable(databases, caller, code, _PERIODS[unit], days.instants)
    async with databases.telemetry(meter.grants) as telemetry:
        rows = await telemetry.ask(reads.energy, meter_id=meter.meter_id, first=days.first, end=days.end, unit=unit)
    data = {"code": code, "timezone": meter.timezone, "periods": rows}
    return answer(given, "Days." if unit == "1d" else "Months.", data, {"next": None, "count": len(rows)})


@router.get(
    "/compare",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Compared],
)
async def compare(
    code: Code, spans: Annotated[TwoSpans, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """What changed from one span to another. Spans of unequal length compare by their mean days."""
    meter = await readable(databases, caller, code, "compare", spans.instants)
    async with databases.telemetry(meter.grants) as telemetry:
        found = await telemetry.ask(
            reads.compare,
            meter_id=meter.meter_id,
            before=(spans.before_from, spans.before_to),
            after=(spans.after_from, spans.after_to),
            now=caller.now,
        )
    return answer(given, "Two spans.", {"code": code, "comparison": found})


@router.get(
    "/completeness",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Complete],
)
async def completeness(
    code: Code, span: Annotated[Stretches, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """How many readings there are of those that were expected, and why others are missing."""
    meter = await readable(databases, caller, code, "completeness", span.instants)
    async with databases.telemetry(meter.grants) as telemetry:
        rows = await telemetry.ask(
            reads.completeness,
            meter_id=meter.meter_id,
            since=span.since,
            until=span.until,
            now=caller.now,
            stretches=span.stretches,
        )
    return answer(given, "Completeness.", {"code": code, "parts": rows})


_RESOLUTIONS: dict[str, Resolution] = {"raw": "raw", "1m": "1m", "15m": "15m", "1h": "1h", "1d": "1d", "1mo": "1mo"}


def _known(name: str) -> Resolution:
    if name not in _RESOLUTIONS:
        raise Malformed("the cursor is of no resolution that there is", where="query.cursor")
    return _RESOLUTIONS[name]
