"""Meters that are read every few minutes, and windows of which the last minute is missing: they have alerts, too."""

from datetime import datetime, timedelta

import pytest

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

LOW = {"voltage_l1_v": 200.0}
REVERSE = {"power_w": -200.0}
SECONDS = timedelta(seconds=6)


async def _every(world: World, meter: int, minutes: int, first: datetime, count: int, **values: float) -> datetime:
    """So many readings, one each so many minutes, each looked at when its minute is over."""
    for number in range(count):
        at = first + number * minutes * MINUTE
        world.minutes([meter], at, **values)
        for later in range(0, minutes, 5):
            await world.look(at + later * MINUTE + MINUTE + SECONDS)
    return first + count * minutes * MINUTE


@pytest.mark.parametrize("minutes", [3, 5, 10, 30])
async def test_a_meter_that_is_read_every_few_minutes_has_alerts_of_its_voltage(world: World, minutes: int) -> None:
    [meter] = world.meters(phases=1, interval_s=60 * minutes)
    at = await _every(world, meter, minutes, NOON, max(3, 10 // minutes + 1), **LOW)
    raised = world.alerts("rule, state, started_at")
    await _every(world, meter, minutes, at, 30 // minutes + 3)

    assert raised == [("under_voltage", "firing", NOON)]
    assert world.alerts("rule, state") == [("under_voltage", "resolved")]


async def test_what_has_to_last_is_not_torn_by_the_pauses_between_readings(world: World) -> None:
    """Five minutes of reverse power at a meter that is read every three minutes, and an hour without."""
    [meter] = world.meters(exports=False, interval_s=180)
    at = await _every(world, meter, 3, NOON, 3, **REVERSE)
    raised = world.alerts("rule, state")
    await _every(world, meter, 3, at, 4)

    assert raised == [("reverse_power", "firing")]
    assert world.alerts("rule, state") == [("reverse_power", "resolved")]


async def test_a_register_that_went_backwards_at_a_slow_meter_is_over_after_an_hour(world: World) -> None:
    [meter] = world.meters(interval_s=300)
    world.measure_do(
        "INSERT INTO register_events (meter_id, register, at, kind, before_value, value)"
        " VALUES (%s, 1, %s, 'backwards', 100, 50)",
        *(meter, NOON + timedelta(seconds=30)),
    )
    at = await _every(world, meter, 5, NOON, 1)
    raised = world.alerts("rule, state")
    await _every(world, meter, 5, at, 14)

    assert raised == [("register_backwards", "firing")]
    assert world.alerts("rule, state") == [("register_backwards", "resolved")]


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_window_without_its_last_minute_is_looked_at_all_the_same(world: World, goes_on: bool) -> None:
    """Whether the meter goes on afterwards, or is silent from then on."""
    [meter] = world.meters(phases=1)
    await world.live([meter], NOON, 9, **LOW)
    if goes_on:
        await world.live([meter], NOON + 10 * MINUTE, 1)
    await world.look(NOON + 11 * MINUTE)

    assert world.alerts("rule, state, fired_at") == [("under_voltage", "firing", NOON + 10 * MINUTE)]


async def test_what_waits_for_the_end_of_its_window_waits_once(world: World) -> None:
    meters = world.meters(3, phases=1)
    await world.live(meters, NOON, 8)

    waiting = world.telemetry.execute("SELECT first_bucket, meters FROM dirty_alerts ORDER BY first_bucket").fetchall()
    assert waiting == [
        {"first_bucket": NOON + 9 * MINUTE, "meters": meters},
        {"first_bucket": NOON + 14 * MINUTE, "meters": meters},
    ]
    await world.look(NOON + HOUR)
    assert world.telemetry.execute("SELECT FROM dirty_alerts").fetchall() == []
