from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from edge.profiles import catalog
from edge.profiles.payload.schema import device_time_us, plausible_time

_BERLIN = ZoneInfo("Europe/Berlin")


def _us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def test_a_clock_without_a_zone_is_local_to_the_device() -> None:
    profile = catalog.mqtt("tasmota")
    assert device_time_us(profile, "2026-07-01T12:00:00", _BERLIN, 0) == _us("2026-07-01T10:00:00+00:00")
    assert device_time_us(profile, "2026-07-01T12:00:00", UTC, 0) == _us("2026-07-01T12:00:00+00:00")
    assert device_time_us(profile, "2026-07-01T12:00:00+05:30", UTC, 0) == _us("2026-07-01T06:30:00+00:00")


@pytest.mark.parametrize("now", ["2026-10-25T00:30:05+00:00", "2026-10-25T01:30:05+00:00"])
def test_an_hour_that_is_there_twice_is_told_apart_by_the_time_of_arrival(now: str) -> None:
    """E27"""
    expected_us = _us(now) - 5_000_000
    found_us = device_time_us(catalog.mqtt("tasmota"), "2026-10-25T02:30:00", _BERLIN, _us(now))
    assert found_us == expected_us


@pytest.mark.parametrize("clock", [None, "", "yesterday", "2026-13-01T00:00:00", float("inf"), float("nan")])
def test_what_is_no_time_is_none(clock: str | float | None) -> None:
    assert device_time_us(catalog.mqtt("tasmota"), clock, UTC, 0) is None
    assert device_time_us(catalog.mqtt("shelly-gen2"), clock, UTC, 0) is None


def test_a_clock_is_believed_from_seven_days_behind_to_a_minute_ahead() -> None:
    """E27"""
    now_us, day_us = _us("2026-07-10T00:00:00+00:00"), 86_400_000_000
    assert plausible_time(now_us - 7 * day_us, now_us)
    assert not plausible_time(now_us - 7 * day_us - 1, now_us)
    assert plausible_time(now_us + 60_000_000, now_us)
    assert not plausible_time(now_us + 60_000_001, now_us)
    assert not plausible_time(None, now_us)
