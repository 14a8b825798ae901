"""What goes by local hours and days, on the nights in which clocks are changed and around them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from cloud.alerts.replay import replay
from tests.integration.alerts.conftest import DAY, HOUR, World

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN, SPRING = datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC)
"""When clocks go from 3 back to 2, and from 2 on to 3."""
QUARTER = timedelta(minutes=15)
_USUAL = ["consumption_spike", "consumption_drop"]


def _berlin(world: World, count: int = 1) -> list[int]:
    meters = world.meters(count)
    world.do("UPDATE meter_locations SET timezone = 'Europe/Berlin'")
    world.measure_do("UPDATE device_registry SET timezone = 'Europe/Berlin'")
    return meters


def _stored(world: World, meter: int, first: datetime, last: datetime, wh: Callable[[datetime], int]) -> None:
    """Quarter-hours from `first` to before `last`, of what `wh` says of each."""
    begins = [first + n * QUARTER for n in range((last - first) // QUARTER)]
    world.measure_do(
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh, energy_export_wh,"
        " voltage_l1_v_count, voltage_l1_v_sum)"
        " SELECT %s, b, 90, 100, 14, wh, 0, 90, 20700 FROM unnest(%s::timestamptz[], %s::bigint[]) AS q (b, wh)",
        *(meter, begins, [wh(begin) for begin in begins]),
    )


def _told(world: World, since: datetime, until: datetime) -> list[tuple[str, str, datetime]]:
    """Rule, meter, and when the hour began that it was first told of."""
    found = replay(world.domain, world.telemetry, since=since, until=until, only=_USUAL)
    return [(one.rule, one.meter, one.started_at) for one in found]


async def _looked(world: World, meter: int, first: datetime, last: datetime) -> None:
    """Each quarter-hour from `first` to before `last` as it ends."""
    for n in range((last - first) // QUARTER):
        at = first + n * QUARTER
        world.measure_do("SELECT mark_alerts(15, %s, %s, %s, %s)", [meter], at, at, at + QUARTER)
        await world.look(at + QUARTER + timedelta(seconds=40))


@pytest.mark.parametrize("change", [AUTUMN, SPRING], ids=["autumn", "spring"])
@pytest.mark.parametrize("clock", [BERLIN, UTC], ids=["local", "fixed"])
def test_an_hour_that_is_the_same_every_day_is_usual_though_clocks_are_changed(
    world: World, change: datetime, clock: tzinfo
) -> None:
    """By a clock that is changed, of which an hour comes twice or not at all, and by one that is not."""
    first, last = change - 23 * DAY, change + 22 * DAY
    for hour in (0, 1, 2, 3, 4, 23):
        heavy, light = _berlin(world, 2)
        _stored(world, heavy, first, last, lambda at, hour=hour: 800 if at.astimezone(clock).hour == hour else 50)
        _stored(world, light, first, last, lambda at, hour=hour: 10 if at.astimezone(clock).hour == hour else 400)

    assert _told(world, change - DAY, last - HOUR) == []


@pytest.mark.parametrize("change", [AUTUMN, SPRING], ids=["autumn", "spring"])
def test_an_hour_that_differs_is_told_around_a_change_of_clocks(world: World, change: datetime) -> None:
    """Each of the two hours from 2 to 3, too."""
    first, last = change - 23 * DAY, change + 9 * DAY
    expected = []
    for hours in (-3, -2, -1, 0, 1, 2, 23, 24, 7 * 24 - 1, 7 * 24):
        odd = change + hours * HOUR
        more, less = _berlin(world, 2)
        _stored(world, more, first, last, lambda at, odd=odd: 600 if odd <= at < odd + HOUR else 100)
        _stored(world, less, first, last, lambda at, odd=odd: 0 if odd <= at < odd + HOUR else 200)
        expected += [("consumption_spike", f"MTR-{more:08}", odd), ("consumption_drop", f"MTR-{less:08}", odd)]

    assert sorted(_told(world, change - DAY, last)) == sorted(expected)


@pytest.mark.parametrize("day", [datetime(2026, 10, 25, tzinfo=BERLIN), datetime(2027, 3, 28, tzinfo=BERLIN)], ids=str)
@pytest.mark.parametrize("over_wh", [-1, 1])
async def test_the_energy_of_a_day_of_23_or_25_hours_is_that_from_midnight_to_midnight(
    world: World, day: datetime, over_wh: int
) -> None:
    [meter] = _berlin(world)
    first, last = day.astimezone(UTC), (day + DAY).astimezone(UTC)
    quarters = (last - first) // QUARTER
    threshold = 100 * quarters - over_wh
    world.do("UPDATE user_preferences SET consumption_threshold_wh = %s WHERE user_id = 2", threshold)
    _stored(world, meter, first - 2 * HOUR, last + 2 * HOUR, lambda _: 100)

    await _looked(world, meter, last - 2 * HOUR, last + 2 * HOUR)

    assert quarters in (92, 100)
    found = world.alerts("rule, value, state, resolved_at")
    assert found == ([("high_consumption", 100 * quarters, "resolved", last + QUARTER)] if over_wh > 0 else [])


@pytest.mark.parametrize("change", [AUTUMN, SPRING], ids=["autumn", "spring"])
async def test_a_day_without_consumption_has_24_hours_whatever_clocks_do(world: World, change: datetime) -> None:
    [meter] = _berlin(world)
    first = change - 10 * HOUR
    _stored(world, meter, first - DAY, first + 30 * HOUR, lambda at: 0 if at >= first else 100)

    await _looked(world, meter, first + 20 * HOUR, first + 26 * HOUR)

    assert world.alerts("rule, fired_at") == [("no_consumption", first + 24 * HOUR)]
