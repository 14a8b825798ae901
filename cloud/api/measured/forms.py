"""What may be asked of a meter's past, and the form of the answers."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud.api.http.spans import Instant, Page, Span
from cloud.telemetry.rows import Channels, Comparison, Completeness, Energy, Interval, Statistics, Values

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
