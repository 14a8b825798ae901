from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from edge.profiles.payload.clock import TimeFormat, believed_us, instant_us

_BERLIN = ZoneInfo("Europe/Berlin")
_ANY: tuple[TimeFormat, ...] = ("auto", "iso", "unix", "unix-ms", "p1")


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def test_a_clock_without_a_zone_is_local_to_the_device() -> None:
    assert instant_us("2026-07-01T12:00:00", "iso", _BERLIN, 0) == _us("2026-07-01T10:00:00+00:00")
    assert instant_us("2026-07-01T12:00:00", "iso", UTC, 0) == _us("2026-07-01T12:00:00+00:00")
    assert instant_us("2026-07-01T12:00:00+05:30", "iso", UTC, 0) == _us("2026-07-01T06:30:00+00:00")


@pytest.mark.parametrize(
    "clock",
    [
        "2026-07-01T10:00:00Z",
        "2026-07-01T10:00:00.000Z",
        "2026-07-01 10:00:00+00:00",
        "2026-07-01T12:00:00+02:00",
        "2026-07-01 12:00:00",
        " 2026-07-01T12:00:00\n",
        "2026-07-01T12:00:00.000000",
        1782900000,
        1782900000.0,
        1782900000000,
        1782900000000000,
        "1782900000",
        "1782900000000",
        "260701120000S",
        "260701120000",
    ],
)
def test_a_clock_is_known_by_the_way_it_is_written(clock: str | float) -> None:
    """E15, E27"""
    assert instant_us(clock, "auto", _BERLIN, 0) == _us("2026-07-01T10:00:00+00:00")


def test_a_stated_format_is_not_guessed_at() -> None:
    assert instant_us(1782900000, "unix-ms", UTC, 0) == 1782900000000
    assert instant_us(1782900000000, "unix", UTC, 0) == 1782900000000000000
    assert instant_us("1782900000", "iso", UTC, 0) is None
    assert instant_us(1782900000, "iso", UTC, 0) is None
    assert instant_us("2026-07-01T10:00:00Z", "unix", UTC, 0) is None


@pytest.mark.parametrize("now", ["2026-10-25T00:30:05+00:00", "2026-10-25T01:30:05+00:00"])
def test_an_hour_that_is_there_twice_is_told_apart_by_the_time_of_arrival(now: str) -> None:
    """E27"""
    expected_us = _us(now) - 5_000_000
    assert instant_us("2026-10-25T02:30:00", "iso", _BERLIN, _us(now)) == expected_us
    assert instant_us("2026-10-25T02:30:00.000", "iso", _BERLIN, _us(now)) == expected_us


@pytest.mark.parametrize(("letter", "utc"), [("S", "2026-10-25T00:30:00+00:00"), ("W", "2026-10-25T01:30:00+00:00")])
def test_a_p1_meter_says_itself_which_of_the_two_hours_it_is(letter: str, utc: str) -> None:
    """E27"""
    for near in ("2026-10-25T00:30:05+00:00", "2026-10-25T01:30:05+00:00"):
        assert instant_us(f"261025023000{letter}", "p1", _BERLIN, _us(near)) == _us(utc)


@pytest.mark.parametrize(
    "clock",
    [
        None,
        "",
        "yesterday",
        "2026-13-01T00:00:00",
        "2026-07-01T12:00:61",
        "2026-07-01",
        "12:00:00",
        float("inf"),
        float("nan"),
        True,
        [],
        {},
        10**400,
        "9" * 400,
        "269999999999S",
        "2026-07-01T12:00:0x",
    ],
)
def test_what_is_no_time_is_none(clock: object) -> None:
    for written in _ANY:
        assert instant_us(clock, written, _BERLIN, 0) is None


def test_a_clock_is_believed_from_seven_days_behind_to_a_minute_ahead() -> None:
    """E15, E27: a clock of 1970 is none."""
    now_us, day_us = _us("2026-07-10T00:00:00+00:00"), 86_400_000_000
    assert believed_us(now_us - 7 * day_us, now_us) == now_us - 7 * day_us
    assert believed_us(now_us - 7 * day_us - 1, now_us) is None
    assert believed_us(now_us + 60_000_000, now_us) == now_us + 60_000_000
    assert believed_us(now_us + 60_000_001, now_us) is None
    assert believed_us(None, now_us) is None
