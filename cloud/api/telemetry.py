"""What a meter measured: its history, what that amounts to, and how complete it is."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.envelope import Success
from cloud.api.errors import Malformed
from cloud.api.etag import IfNoneMatch, answer, polled
from cloud.api.latest import values
from cloud.api.meters import Code
from cloud.api.readable import readable
from cloud.api.spans import Days, Instant, Page, Span
from cloud.telemetry import reads
from cloud.telemetry.rows import Channels, Comparison, Completeness, Energy, Interval, Statistics, Values

router = APIRouter(prefix="/api/v1/telemetry/meters/{code}", tags=["telemetry"])
_WIDTH_PX = 1000
_PERIODS = {"1d": "daily", "1mo": "monthly"}
_MICROSECOND = timedelta(microseconds=1)
Resolution = Literal["raw", "1m", "15m", "1h", "1d", "1mo"]
ZONE = "IANA zone that the meter's days are local to."


class Chart(Page):
    """Which part of the history, and how finely."""

    resolution: Annotated[
        Literal["auto", "raw", "1m", "15m", "1h", "1d", "1mo"],
        Field(description="Length of an interval; auto is the finest that is kept and of use for a chart of width_px."),
    ] = "auto"
    width_px: Annotated[
        int | None, Field(ge=1, le=20_000, description="Width of the chart, pixels; goes with auto, and is 1000 there.")
    ] = None

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.width_px is not None and self.resolution != "auto":
            raise ValueError("width_px goes with resolution=auto")
        return self


class Fine(Page):
    """Which part of the history, by which intervals."""

    resolution: Annotated[Literal["1m", "15m", "1h", "1d", "1mo"], Field(description="Length of an interval.")] = "15m"


class Stretches(Span):
    """Which span, and how much to tell of what is missing."""

    stretches: Annotated[
        int, Field(ge=0, le=200, description="Stretches of missing readings that are told at most.")
    ] = 20


class TwoSpans(BaseModel):
    """What to compare."""

    model_config = ConfigDict(extra="forbid")

    before_from: Annotated[Instant, Field(description="The first instant of the one span.")]
    before_to: Annotated[Instant, Field(description="The first instant after it.")]
    after_from: Annotated[Instant, Field(description="The first instant of the other span.")]
    after_to: Annotated[Instant, Field(description="The first instant after it.")]

    @model_validator(mode="after")
    def _forward(self) -> Self:
        for name, since, until in (
            ("before", self.before_from, self.before_to),
            ("after", self.after_from, self.after_to),
        ):
            if since >= until:
                raise ValueError(f"{name}_from is not before {name}_to")
        return self

    @property
    def instants(self) -> tuple[datetime, datetime]:
        """From the first of all to the last."""
        return min(self.before_from, self.after_from), max(self.before_to, self.after_to)


class _OfMeter(BaseModel):
    code: Annotated[str, Field(description="Code of the meter.")]


class History(_OfMeter):
    """Intervals in order of time; one of which nothing is known is left out."""

    resolution: Annotated[Resolution, Field(description="Length of an interval.")]
    timezone: Annotated[str, Field(description=ZONE)]
    intervals: Annotated[
        list[Interval], Field(description="Of raw each is one reading: both times are its own, and it has no energy.")
    ]


class Readings(_OfMeter):
    """Readings as they came, in order of time."""

    readings: Annotated[list[Values], Field(description="All that was read.")]


class Grid(_OfMeter):
    """Voltages, currents, frequency and power factor, in order of time."""

    resolution: Annotated[Resolution, Field(description="Length of an interval.")]
    timezone: Annotated[str, Field(description=ZONE)]
    intervals: Annotated[list[Channels], Field(description="Mean of the readings, lowest, highest.")]


class Amounts(_OfMeter):
    """What a span amounts to."""

    parts: Annotated[
        list[Statistics],
        Field(description="One for each part of the span in which the meter was the caller's: as a rule one."),
    ]


class Calendar(_OfMeter):
    """Local days or months of which anything is known, in order of time."""

    timezone: Annotated[str, Field(description=ZONE)]
    periods: Annotated[list[Energy], Field(description="Days or months.")]


class Compared(_OfMeter):
    """Two spans side by side."""

    comparison: Annotated[
        Comparison | None, Field(description="Null where nothing of one of them is the caller's, or neither has begun.")
    ]


class Complete(_OfMeter):
    """How complete the readings are."""

    parts: Annotated[
        list[Completeness],
        Field(description="One for each device that the meter was, and part of the span that is the caller's."),
    ]


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
