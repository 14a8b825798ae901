"""An alert from its first sign to its end: what it waits for, how it clears, and what it does not believe."""

from datetime import timedelta

import pytest

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

REVERSE = {"power_w": -200.0}


async def test_a_mean_that_is_low_is_a_warning_and_one_that_is_lower_critical(world: World) -> None:
    first, second = world.meters(2, phases=1)

    await world.live([first], NOON, 10, voltage_l1_v=200)
    await world.live([second], NOON, 10, voltage_l1_v=190)

    assert world.alerts() == [
        ("under_voltage", first, 1, "warning", "firing"),
        ("under_voltage", second, 1, "critical", "firing"),
    ]
    [(message,)] = world.alerts("message", f"meter_id = {first}")
    assert message == "Voltage in percent of nominal of phase 1: 86.96 %, below 90"


async def test_one_that_gets_worse_is_the_same_alert_and_told_again(world: World) -> None:
    [meter] = world.meters(phases=1)
    at = await world.live([meter], NOON, 10, voltage_l1_v=200)
    await world.tell(at)
    at = await world.live([meter], at, 10, voltage_l1_v=190)
    await world.tell(at)
    at = await world.live([meter], at, 10, voltage_l1_v=200)
    await world.tell(at)

    assert world.alerts() == [("under_voltage", meter, 1, "critical", "firing")]
    assert world.messages().count((2, "alert", "under_voltage")) == 2


async def test_it_waits_until_it_has_lasted_long_enough(world: World) -> None:
    [meter] = world.meters(exports=False)

    await world.live([meter], NOON, 4, **REVERSE)
    waiting = world.alerts(), [row["state"] for row in world.rows("SELECT state FROM alert_states")]
    await world.live([meter], NOON + 4 * MINUTE, 1, **REVERSE)

    assert waiting == ([], ["pending"])
    assert world.alerts("rule, started_at, fired_at") == [("reverse_power", NOON, NOON + 5 * MINUTE)]


async def test_what_stops_before_that_was_nothing(world: World) -> None:
    [meter] = world.meters(exports=False)
    await world.live([meter], NOON, 4, **REVERSE)
    at = await world.live([meter], NOON + 4 * MINUTE, 1)
    await world.live([meter], at, 4, **REVERSE)

    assert world.alerts() == []


async def test_between_the_thresholds_nothing_changes(world: World) -> None:
    """Raised above 50 W, over at 40 W: 45 W neither raises nor ends it."""
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 10, power_w=-45)
    before = world.alerts()
    at = await world.live([meter], at, 5, **REVERSE)
    at = await world.live([meter], at, 20, power_w=-45)
    during = world.alerts("state")
    at = await world.live([meter], at, 5, power_w=-40)

    assert (before, during) == ([], [("firing",)])
    assert world.alerts("state, resolved_at") == [("resolved", at)]


async def test_it_is_over_when_it_was_over_for_long_enough(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    at = await world.live([meter], at, 4)
    clearing = world.alerts("state")
    at = await world.live([meter], at, 1, **REVERSE)
    again = world.alerts("state")
    at = await world.live([meter], at, 5)

    assert (clearing, again) == ([("clearing",)], [("firing",)])
    assert world.alerts("state, resolved_at") == [("resolved", at)]
    kinds = [row["kind"] for row in world.rows("SELECT kind FROM alert_events ORDER BY alert_event_id")]
    assert kinds == ["fired", "clearing", "again", "clearing", "resolved"]


async def test_no_data_is_not_the_end(world: World) -> None:
    """Two minutes of good data before and after an hour of which nothing is known are not five minutes of good data."""
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    at = await world.live([meter], at, 2)
    at = await world.live([meter], at + HOUR, 2)
    between = world.alerts("state")
    at = await world.live([meter], at, 3)

    assert between == [("clearing",)]
    assert world.alerts("state, resolved_at") == [("resolved", at)]


async def test_time_of_which_nothing_is_known_does_not_count_as_bad(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 2, **REVERSE)
    at = await world.live([meter], at + HOUR, 3, **REVERSE)

    assert world.alerts() == []


async def test_coming_and_going_four_times_an_hour_is_one_alert_that_stays(world: World) -> None:
    """Two alerts, and the third is flapping: it does not end before an hour without a sign has passed."""
    [meter] = world.meters(exports=False)
    at = NOON
    for _ in range(4):
        at = await world.live([meter], at, 5, **REVERSE)
        await world.tell(at)
        at = await world.live([meter], at, 5)
        await world.tell(at)

    states = world.alerts("flapping, state")
    at = await world.live([meter], at, 54)
    nearly = world.alerts("state", "flapping")
    at = await world.live([meter], at, 1)

    assert states == [(False, "resolved"), (False, "resolved"), (True, "clearing")]
    assert nearly == [("clearing",)]
    assert world.alerts("state", "flapping") == [("resolved",)]
    # Of the third it was said that it began, and no more.
    assert world.messages() == [(1, "alert", "reverse_power"), (1, "alert_resolved", "reverse_power")] * 2 + [
        (1, "alert", "reverse_power")
    ]


async def test_looking_again_at_what_was_seen_changes_nothing(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    at = await world.live([meter], at, 5)
    before = world.alerts("alert_id, state, started_at, resolved_at")
    for number in range(10):
        world.mark([meter], NOON + number * MINUTE)
        await world.look(at + timedelta(seconds=10))

    assert world.alerts("alert_id, state, started_at, resolved_at") == before
    assert world.rows("SELECT FROM alert_states") == []


async def test_one_that_somebody_closed_does_not_open_again_before_it_was_over(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    world.do("UPDATE alerts SET state = 'resolved', resolved_at = %s, resolved_by = 1", at)
    world.do("UPDATE alert_states SET state = 'dismissed', alert_id = NULL")
    at = await world.live([meter], at, 10, **REVERSE)
    still = world.alerts("state")
    at = await world.live([meter], at, 1)
    at = await world.live([meter], at, 5, **REVERSE)

    assert still == [("resolved",)]
    assert world.alerts("state") == [("resolved",), ("firing",)]


async def test_one_that_somebody_closed_is_not_over_between_the_thresholds(world: World) -> None:
    """Raised above 50 W, over at 40 W: one that hovers about 50 W is closed once."""
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    world.do("UPDATE alerts SET state = 'resolved', resolved_at = %s, resolved_by = 1", at)
    world.do("UPDATE alert_states SET state = 'dismissed', alert_id = NULL")
    at = await world.live([meter], at, 2, power_w=-45)
    await world.live([meter], at, 10, **REVERSE)

    assert world.alerts("state") == [("resolved",)]


@pytest.mark.parametrize("share", [0.4, 0.6])
async def test_a_window_of_which_less_than_half_is_known_says_nothing(world: World, share: float) -> None:
    [meter] = world.meters(phases=1)
    await world.live([meter], NOON + (10 - round(10 * share)) * MINUTE, round(10 * share), voltage_l1_v=200)

    assert len(world.alerts()) == (share > 0.5)


async def test_meters_of_which_one_cannot_be_judged_leave_the_others_their_alerts(world: World) -> None:
    """D14: one that throws aborts the remaining meters. Here one has left, and one is registered nowhere."""
    gone, stray, meter = world.meters(3, exports=False)
    world.do("UPDATE meters SET status = 'decommissioned' WHERE meter_id = %s", gone)
    world.do("DELETE FROM meter_locations WHERE meter_id = %s", stray)

    await world.live([gone, stray, meter, 999], NOON, 5, **REVERSE)

    assert world.alerts() == [("reverse_power", meter, 0, "high", "firing")]


async def test_a_meter_at_which_the_database_fails_holds_up_no_other(world: World) -> None:
    """D14 and C12: what throws aborts the remaining meters, for ever, as its block is always the oldest."""
    *others, broken = world.meters(9, exports=False)
    for number in range(5):
        minute = NOON + number * MINUTE
        world.minutes([*others, broken], minute, **REVERSE)
        world.measure_do("UPDATE aggregates_1m SET voltage_l1_v_sum = 1.7e308 WHERE meter_id = %s", broken)
        await world.look(minute + MINUTE + timedelta(seconds=6))

    assert [meter for _, meter, *_ in world.alerts()] == others
    computed = "SELECT meters, first_bucket, last_bucket, error, due_at FROM dirty_alerts WHERE first_bucket < %s"
    [kept] = world.telemetry.execute(computed, [NOON + 5 * MINUTE]).fetchall()
    assert (kept["meters"], kept["first_bucket"], kept["last_bucket"]) == ([broken], NOON, NOON + 4 * MINUTE)
    assert "out of range" in kept["error"]
    # The tries after the first failure put it off no further.
    assert kept["due_at"] == NOON + HOUR + MINUTE + timedelta(seconds=6)


async def test_what_could_not_be_judged_is_judged_once_it_can_be(world: World) -> None:
    """C12: errors are swallowed, and there is no place where what failed is kept."""
    [meter] = world.meters(exports=False)
    world.minutes([meter], NOON, 6, **REVERSE)
    world.measure_do("UPDATE aggregates_1m SET voltage_l1_v_sum = 1.7e308")
    for hours in range(4):
        await world.look(NOON + hours * HOUR + 7 * MINUTE)
    kept = world.telemetry.execute("SELECT first_bucket, last_bucket, due_at FROM dirty_alerts").fetchall()
    world.measure_do("UPDATE aggregates_1m SET voltage_l1_v_sum = 6 * 230")
    await world.look(NOON + 4 * HOUR + 6 * MINUTE)
    waiting = world.alerts()
    await world.look(NOON + 4 * HOUR + 8 * MINUTE)

    assert [tuple(mark.values()) for mark in kept] == [(NOON, NOON + 5 * MINUTE, NOON + 4 * HOUR + 7 * MINUTE)]
    assert waiting == []
    assert world.alerts("rule, started_at, late") == [("reverse_power", NOON, True)]
    left = world.telemetry.execute("SELECT FROM dirty_alerts WHERE first_bucket < %s", [NOON + 5 * MINUTE]).fetchall()
    assert left == []
