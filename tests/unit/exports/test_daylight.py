"""Rules of clocks in 32 bits, applied again as ESPI says, give the instants at which the zone's clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cloud.exports.daylight import NO_RULE, local_time


@pytest.mark.parametrize(
    ("zone", "year", "offset_s", "daylight_s", "starts", "ends"),
    [
        ("America/New_York", 2012, -18000, 3600, "360E2000", "B40E2000"),
        ("Europe/Berlin", 2026, 3600, 3600, "3E0E2000", "AE0E3000"),
        ("Europe/Dublin", 2026, 0, 3600, "3E0E1000", "AE0E2000"),
        ("Australia/Lord_Howe", 2026, 37800, 1800, "A40E2000", "440E2000"),
        ("Asia/Kolkata", 2026, 19800, 0, NO_RULE, NO_RULE),
        ("UTC", 2026, 0, 0, NO_RULE, NO_RULE),
        (
            "Africa/Casablanca",
            2029,
            3600,
            0,
            NO_RULE,
            NO_RULE,
        ),  # clocks change for Ramadan, at its end, and for the next
    ],
)
def test_rules_are_those_of_the_zone(
    zone: str, year: int, offset_s: int, daylight_s: int, starts: str, ends: str
) -> None:
    found = local_time(ZoneInfo(zone), year)

    assert (found.offset_s, found.daylight_s, found.starts, found.ends) == (offset_s, daylight_s, starts, ends)


@pytest.mark.parametrize(
    "zone",
    [
        "America/New_York", "America/Santiago", "America/Havana", "Europe/Berlin", "Europe/Lisbon", "Asia/Jerusalem",
        "Asia/Beirut", "Africa/Cairo", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland", "America/Nuuk",
        "Antarctica/Troll", "Europe/Chisinau", "Pacific/Norfolk", "Africa/Casablanca",
    ],
)  # fmt: skip
@pytest.mark.parametrize("year", [2026, 2028, 2031])
def test_a_rule_gives_the_instant_back(zone: str, year: int) -> None:
    local = ZoneInfo(zone)
    found = local_time(local, year)
    assert NO_RULE not in (found.starts, found.ends)
    winter, summer = timedelta(seconds=found.offset_s), timedelta(seconds=found.offset_s + found.daylight_s)
    for rule, before, after in ((found.starts, winter, summer), (found.ends, summer, winter)):
        change = (_applied(int(rule, 16), year) - before).replace(tzinfo=UTC)

        assert (change - timedelta(seconds=1)).astimezone(local).utcoffset() == before
        assert change.astimezone(local).utcoffset() == after


def _applied(rule: int, year: int) -> datetime:
    """REQ.21, DstRuleType, written from its description."""
    seconds, hours, weekday = rule & 0xFFF, rule >> 12 & 0x1F, rule >> 17 & 7
    date, operator, month = rule >> 20 & 0x1F, rule >> 25 & 7, rule >> 28
    days = [datetime(year, month, 1) + timedelta(days=i) for i in range(31)]
    days = [day for day in days if day.month == month]
    if operator == 0:
        [day] = [day for day in days if day.day == date]
    elif operator == 1:
        day = next(day for day in days if day.day >= date and day.isoweekday() == weekday)
    else:
        matching = [day for day in days if day.isoweekday() == weekday]
        day = matching[-1] if operator == 7 else matching[operator - 2]
    return day + timedelta(hours=hours, seconds=seconds)
