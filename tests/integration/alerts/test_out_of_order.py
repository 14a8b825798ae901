"""Minutes that come after those that followed them, and what people closed meanwhile."""

from datetime import timedelta

from tests.integration.alerts.conftest import MINUTE, NOON, World

LOST = {"voltage_l2_v": 0.0}
REVERSE = {"power_w": -200.0}
SECONDS = timedelta(seconds=6)


async def test_a_minute_that_comes_after_better_ones_is_no_alarm(world: World) -> None:
    """What was over before anybody could know of it wakes nobody."""
    [meter] = world.meters(phases=7)
    at = await world.live([meter], NOON, 1)
    await world.live([meter], at + MINUTE, 8)
    world.readings([meter], at, at + MINUTE, voltage_l2_v=0.0)
    world.minutes([meter], at, **LOST)
    now = NOON + 9 * MINUTE + SECONDS
    await world.look(now)
    await world.tell(now)

    assert world.alerts("rule, phase, state, started_at") == [("phase_loss", 2, "resolved", at)]
    assert world.messages() == []


async def test_what_somebody_closed_does_not_come_back_with_what_is_computed_anew(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    [(alert,)] = world.alerts("alert_id")
    world.do("SELECT alerts_close(%s, 1, NULL, %s)", [alert], at)
    at = await world.live([meter], at, 10, **REVERSE)
    at = await world.live([meter], at, 2)
    world.mark([meter], NOON, 17)
    await world.look(at + SECONDS)

    assert world.alerts("state, resolved_by") == [("resolved", 1)]


async def test_what_begins_after_somebody_closed_it_and_it_was_over_is_another(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 5, **REVERSE)
    [(alert,)] = world.alerts("alert_id")
    world.do("SELECT alerts_close(%s, 1, NULL, %s)", [alert], at)
    at = await world.live([meter], at, 10, **REVERSE)
    at = await world.live([meter], at, 1)
    at = await world.live([meter], at, 5, **REVERSE)

    assert world.alerts("state, started_at") == [("resolved", NOON), ("firing", at - 5 * MINUTE)]
