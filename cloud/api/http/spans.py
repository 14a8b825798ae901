"""Spans of time that questions name, and pages by time: a cursor says where the next page begins."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from cloud.api.http.errors import Malformed

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FARTHEST = timedelta(hours=14)
"""From UTC to the farthest zone."""
_CURSOR = re.compile(r"([0-9a-z]{1,4})@([0-9]{1,17})")
_NO_CURSOR = "this is no cursor of this question; take meta.next of the page before"


def _measured(at: datetime) -> datetime:
    if not _FIRST <= at <= _LAST:
        raise ValueError("before 2000 and after 2100 nothing is measured")
    return at


def _dated(day: date) -> date:
    if not _FIRST.date() <= day <= _LAST.date():
        raise ValueError("before 2000 and after 2100 nothing is measured")
    return day


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_measured)]
Day = Annotated[date, AfterValidator(_dated)]


class Nothing(BaseModel):
    """No parameters: whoever gives one expects something of it."""

    model_config = ConfigDict(extra="forbid")


class Span(BaseModel):
    """From when to when. A parameter that is not known is a mistake, and not ignored."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[
        Instant,
        Field(
            alias="from", description="The first instant, with Z or an offset.", examples=["2026-03-01T00:00:00+01:00"]
        ),
    ]
    until: Annotated[
        Instant,
        Field(
            alias="to",
            description="The first instant after it, with Z or an offset.",
            examples=["2026-03-02T00:00:00+01:00"],
        ),
    ]

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.since >= self.until:
            raise ValueError("from is not before to")
        return self

    @property
    def instants(self) -> tuple[datetime, datetime]:
        """Both ends."""
        return self.since, self.until


class Days(BaseModel):
    """From which local day to before which: what a day is, the meter's own zone says."""

    model_config = ConfigDict(extra="forbid")

    first: Annotated[Day, Field(alias="from", description="The first local day.", examples=["2026-03-01"])]
    end: Annotated[Day, Field(alias="to", description="The local day after the last.", examples=["2026-04-01"])]

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.first >= self.end:
            raise ValueError("from is not before to")
        return self

    @property
    def instants(self) -> tuple[datetime, datetime]:
        """What these days may have in any zone."""
        return _midnight(self.first) - _FARTHEST, _midnight(self.end) + _FARTHEST

    def at_most(self, days: int) -> None:
        """Raises Malformed for more."""
        if (self.end - self.first).days > days:
            raise Malformed(f"ask for {days} days at most", where="query.to")


class Page(Span):
    """One page of a span."""

    limit: Annotated[int, Field(ge=1, le=5000, description="Points of a page.")] = 1000
    cursor: Annotated[str | None, Field(max_length=60, description="meta.next of the page before.")] = None

    def begin(self) -> tuple[str | None, datetime]:
        """Of which resolution the page is, None for the first one, and where it begins. Raises Malformed."""
        if self.cursor is None:
            return None, self.since
        try:
            text = urlsafe_b64decode(self.cursor.encode() + b"=" * (-len(self.cursor) % 4)).decode("ascii")
            found = _CURSOR.fullmatch(text)
            at = None if found is None else _EPOCH + timedelta(microseconds=int(found[2]))
        except (Error, ValueError, OverflowError):
            found = at = None
        if found is None or at is None or not self.since <= at < self.until:
            raise Malformed(_NO_CURSOR, where="query.cursor")
        return found[1], at

    def next(self, resolution: str, at: datetime) -> str | None:
        """Cursor of the page that begins at `at`; None where nothing of the span is left."""
        if at >= self.until:
            return None
        us = (at - _EPOCH) // timedelta(microseconds=1)
        return urlsafe_b64encode(f"{resolution}@{us}".encode()).rstrip(b"=").decode()
