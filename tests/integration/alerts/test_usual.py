"""What is usual for a household, which differs from itself from day to day."""

import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.alerts.replay import Episode, replay
from tests.integration.alerts.conftest import DAY, HOUR, NOON, World

_HOUSE = Path(__file__).parents[4] / "shared" / "data" / "loads" / "uci_household_1min_26d.csv"
_RULES = ["consumption_spike", "consumption_drop"]
_QUARTER = timedelta(minutes=15)


def told(world: World, since: datetime, until: datetime) -> list[Episode]:
    return list(replay(world.domain, world.telemetry, since=since, until=until, only=_RULES))


def house() -> dict[datetime, int]:
    """Quarter-hours of a real house near Paris, Wh, those that have all minutes."""
    minutes: dict[datetime, list[float]] = defaultdict(list)
    with _HOUSE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter=";"):
            at = datetime.strptime(f"{row['Date']} {row['Time']}", "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
            minutes[at.replace(minute=at.minute // 15 * 15)].append(float(row["Global_active_power"]))
    return {at: round(1000 * sum(values) / 60) for at, values in minutes.items() if len(values) == 15}


def stored(world: World, meter: int, quarters: dict[datetime, int]) -> None:
    world.measure_do(
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh)"
        " SELECT %s, b, 90, 100, 14, wh FROM unnest(%s::timestamptz[], %s::bigint[]) AS q (b, wh)",
        *(meter, list(quarters), list(quarters.values())),
    )


@pytest.mark.skipif(not _HOUSE.exists(), reason=f"{_HOUSE} is absent")
def test_a_real_house_is_told_of_rarely(world: World) -> None:
    """In 26 days of which nobody says that anything was wrong."""
    [meter] = world.meters()
    quarters = house()
    stored(world, meter, quarters)

    found = told(world, min(quarters).replace(minute=0), max(quarters))

    assert len(found) == 3


def test_an_hour_that_another_day_had_as_well_is_usual_and_twice_the_most_is_not(world: World) -> None:
    plain, heated = world.meters(2)
    for meter, most in ((plain, 300), (heated, 2400)):
        usual = {NOON - day * DAY + n * _QUARTER: 75 for day in range(1, 22) for n in range(4)}
        usual |= {NOON - 7 * DAY + n * _QUARTER: most // 4 for n in range(4)}
        stored(world, meter, usual | {NOON + n * _QUARTER: 600 for n in range(4)})

    found = told(world, NOON, NOON + HOUR)

    assert [(one.rule, one.meter, one.worst) for one in found] == [("consumption_spike", f"MTR-{plain:08}", 700)]


def test_a_step_an_hour_earlier_or_later_than_on_other_days_is_usual(world: World) -> None:
    """Who comes home at five instead of six."""
    [meter] = world.meters()
    past = {NOON - day * DAY + n * _QUARTER: 75 if n < 4 else 500 for day in range(1, 22) for n in range(8)}
    stored(world, meter, past | {NOON + n * _QUARTER: 500 for n in range(4)})

    assert told(world, NOON, NOON + HOUR) == []
