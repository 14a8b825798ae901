"""Daylight saving time as ESPI has it: an offset, and two rules in 32 bits (REQ.21, DstRuleType)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

NO_RULE = "FFFFFFFF"
# Operators: on a day of the month, on the first such weekday from it on, on the last such weekday of the month.
_ON_DATE, _ON_OR_AFTER, _LAST = 0, 1, 7
# In as many years, a weekday falls on each date that it can.
_YEARS = 12
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class LocalTime:
    """Offsets in seconds; rules in hexadecimal, NO_RULE where clocks do not change twice a year."""

    offset_s: int
    daylight_s: int
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class _Change:
    """`wall` is what clocks show just before they are changed, without a zone."""

    wall: datetime
    before: timedelta
    after: timedelta


@lru_cache(maxsize=256)
def local_time(zone: ZoneInfo, year: int) -> LocalTime:
    """The rules of a year. Where they are no pair of one forward and one back, as with Ramadan, there are none."""
    changes = list(_changes(zone, year))
    forward = [change for change in changes if change.after > change.before]
    back = [change for change in changes if change.after < change.before]
    if len(forward) != 1 or len(back) != 1 or forward[0].after - forward[0].before != back[0].before - back[0].after:
        standard = datetime(year, 1, 1, tzinfo=zone).utcoffset() or timedelta()
        return LocalTime(_seconds(standard), 0, NO_RULE, NO_RULE)
    start, end = forward[0], back[0]
    return LocalTime(_seconds(start.before), _seconds(start.after - start.before), _rule(zone, start), _rule(zone, end))


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _changes(zone: ZoneInfo, year: int) -> Iterator[_Change]:
    """All changes of clocks in a year, each found to the second."""
    at = datetime(year, 1, 1, tzinfo=zone).astimezone(UTC)
    until = datetime(year + 1, 1, 1, tzinfo=zone).astimezone(UTC)
    while at < until:
        following = min(at + timedelta(days=1), until)
        if _offset(zone, at) != _offset(zone, following):
            low, high = at, following
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=_seconds(high - low) // 2)
                low, high = (middle, high) if _offset(zone, middle) == _offset(zone, at) else (low, middle)
            before = _offset(zone, low)
            yield _Change((high + before).replace(tzinfo=None), before, _offset(zone, high))
        at = following


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _rule(zone: ZoneInfo, change: _Change) -> str:
    """Month, day and time. Which day it is, the years that follow tell: a fourth Sunday may also be the last."""
    wall = change.wall
    days = [
        later.wall
        for year in range(wall.year, wall.year + _YEARS)
        for later in _changes(zone, year)
        if (later.after > later.before) == (change.after > change.before)
    ]
    earliest = min(day.day for day in days)
    weekday, date = wall.isoweekday(), 0
    if {(day.month, day.isoweekday()) for day in days} != {(wall.month, weekday)}:
        operator, weekday, date = _ON_DATE, 0, wall.day
    elif all((day + _WEEK).month != day.month for day in days):
        operator = _LAST
    elif len({_occurrence(day) for day in days}) == 1:
        operator = _occurrence(wall)
    else:
        operator, date = _ON_OR_AFTER, earliest
    bits = wall.month << 28 | operator << 25 | date << 20 | weekday << 17 | wall.hour << 12
    return f"{bits | wall.minute * 60 + wall.second:08X}"


def _occurrence(day: datetime) -> int:
    """Operators 2 to 6: the first to the fifth of its weekday in the month."""
    return (day.day - 1) // 7 + 2
