"""Clocks of devices: how they are written, which instant they mean, and whether it can be believed."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, TypeAlias

TimeFormat: TypeAlias = Literal["auto", "iso", "unix", "unix-ms", "p1"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_P1 = re.compile(r"([0-9]{12})([SW]?)")
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")
BEHIND_US = 7 * 86_400_000_000
"""How far behind a device's clock may be and still count: a week of messages that a broker kept."""
_AHEAD_US = 60_000_000
# Seconds of the year 5138, milliseconds of 1973: a number on one side can only be the one, on the other the other.
_LEAST_MS, _LEAST_US, _NO_TIME = 1e11, 1e14, 1e17


def instant_us(clock: object, written: TimeFormat, zone: tzinfo, near_us: int) -> int | None:
    """`clock` in microseconds UTC, or None when it is no time.

    A clock without a zone is local to `zone`; of the two instants that a repeated hour allows, the one nearer to
    `near_us` is meant, unless the clock says which, as P1 meters do by a letter.
    """
    try:
        if isinstance(clock, str):
            return _of_text(clock.strip(), written, zone, near_us)
        if isinstance(clock, int | float) and not isinstance(clock, bool) and written in ("auto", "unix", "unix-ms"):
            return _of_number(clock, written)
    except (ValueError, OverflowError):
        return None
    return None


def believed_us(instant: int | None, now_us: int, behind_us: int = BEHIND_US) -> int | None:
    """`instant` if it is at most `behind_us` behind and 60 s ahead of the gateway's clock, else None."""
    return instant if instant is not None and now_us - behind_us <= instant <= now_us + _AHEAD_US else None


def _of_number(clock: float, written: TimeFormat) -> int | None:
    if not 0 <= clock < _NO_TIME:
        return None
    if written == "unix-ms" or (written == "auto" and _LEAST_MS <= clock < _LEAST_US):
        return round(float(clock) * 1_000)
    if written == "auto" and clock >= _LEAST_US:
        return round(clock)
    return round(float(clock) * 1_000_000)


def _of_text(clock: str, written: TimeFormat, zone: tzinfo, near_us: int) -> int | None:
    if written in ("auto", "p1") and (match := _P1.fullmatch(clock)):
        local = datetime.strptime(match[1], "%y%m%d%H%M%S")
        return _local_us(local, zone, near_us, summer={"S": True, "W": False}.get(match[2]))
    if written in ("auto", "unix", "unix-ms") and _NUMBER.fullmatch(clock):
        return _of_number(float(clock), written)
    if written not in ("auto", "iso") or len(clock) <= 10:
        return None
    if len(clock) == 19 and clock[16] == ":" and clock[17:].isdecimal() and clock[17] < "6":
        # As most write it, without zone and fraction: whole minutes are the same for many messages.
        minute_us = _minute_us(clock[:16], zone)
        if minute_us is not None:
            return minute_us + int(clock[17:]) * 1_000_000
    moment = datetime.fromisoformat(clock)
    return _unix_us(moment) if moment.tzinfo is not None else _local_us(moment, zone, near_us)


@lru_cache(1024)
def _minute_us(minute: str, zone: tzinfo) -> int | None:
    """The instant that `minute` begins at in `zone`, None where there are two. Raises ValueError."""
    first = datetime.fromisoformat(minute).replace(tzinfo=zone)
    return _unix_us(first) if first.utcoffset() == first.replace(fold=1).utcoffset() else None


def _local_us(local: datetime, zone: tzinfo, near_us: int, *, summer: bool | None = None) -> int:
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return _unix_us(first)
    if summer is not None:
        told = [moment for moment in (first, second) if bool(moment.dst()) is summer]
        return _unix_us(told[0] if told else first)
    return min(_unix_us(first), _unix_us(second), key=lambda instant: abs(instant - near_us))


def _unix_us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
