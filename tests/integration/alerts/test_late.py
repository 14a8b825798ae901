"""What comes late is history: it is kept, and nobody is told."""

from datetime import timedelta

from tests.integration.alerts.conftest import DAY, HOUR, MINUTE, NOON, World

REVERSE = {"power_w": -200.0}


async def test_data_of_yesterday_makes_history_and_pages_nobody(world: World) -> None:
    [meter] = world.meters(exports=False)
    world.minutes([meter], NOON, 30, mark=False)
    world.minutes([meter], NOON + 30 * MINUTE, 10, mark=False, **REVERSE)
    world.minutes([meter], NOON + 40 * MINUTE, 30, mark=False)
    world.mark([meter], NOON, 70)

    await world.look(NOON + DAY)
    await world.tell(NOON + DAY)

    assert world.alerts("rule, state, late, started_at, resolved_at") == [
        ("reverse_power", "resolved", True, NOON + 30 * MINUTE, NOON + 45 * MINUTE)
    ]
    assert (world.messages(), world.rows("SELECT FROM alert_states")) == ([], [])


async def test_history_that_comes_twice_is_kept_once(world: World) -> None:
    [meter] = world.meters(exports=False)
    world.minutes([meter], NOON, 10, mark=False, **REVERSE)
    for _ in range(3):
        world.mark([meter], NOON, 10)
        await world.look(NOON + DAY)

    assert len(world.alerts()) == 1


async def test_what_was_seen_when_it_happened_does_not_become_history_as_well(world: World) -> None:
    [meter] = world.meters(exports=False)
    at = await world.live([meter], NOON, 10, **REVERSE)
    await world.live([meter], at, 5)
    world.mark([meter], NOON, 15)

    await world.look(NOON + DAY)

    assert world.alerts("late, state") == [(False, "resolved")]


async def test_a_gap_that_is_filled_beside_an_open_alert_leaves_that_alone(world: World) -> None:
    [meter] = world.meters(exports=False)
    world.minutes([meter], NOON, 10, mark=False, **REVERSE)
    world.minutes([meter], NOON + 10 * MINUTE, 10, mark=False)
    now = await world.live([meter], NOON + 5 * HOUR, 6, **REVERSE)
    world.mark([meter], NOON, 20)

    await world.look(now)

    assert world.alerts("late, state, started_at") == [
        (False, "firing", NOON + 5 * HOUR),
        (True, "resolved", NOON),
    ]


async def test_a_backlog_that_reaches_into_the_present_is_history_and_then_an_alert(world: World) -> None:
    """A gateway was cut off for six hours: five of them are history, and what goes on now is told of."""
    [meter] = world.meters(exports=False)
    world.minutes([meter], NOON, 30, mark=False, **REVERSE)
    world.minutes([meter], NOON + 30 * MINUTE, 300, mark=False)
    world.minutes([meter], NOON + 330 * MINUTE, 30, mark=False, **REVERSE)
    world.mark([meter], NOON, 360)
    now = NOON + 360 * MINUTE + timedelta(seconds=6)

    await world.look(now)
    await world.tell(now)

    assert world.alerts("late, state, started_at", "NOT late") == [(False, "firing", NOON + 330 * MINUTE)]
    assert world.alerts("late, state, started_at", f"started_at = '{NOON}'") == [(True, "resolved", NOON)]
    assert world.messages() == [(1, "alert", "reverse_power")]
