"""A worker whose clock was ahead for a while stops nobody's alerts until that time has come."""

from datetime import timedelta

from tests.integration.alerts.conftest import DAY, MINUTE, NOON, World

SECOND = timedelta(seconds=1)


async def test_silence_is_looked_at_though_a_clock_was_a_day_ahead(world: World) -> None:
    """C10: a silent region emits nothing."""
    meters = world.meters(1)
    await world.listen(NOON + DAY, in_turn=True)
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + MINUTE, in_turn=True)

    assert world.alerts("rule") == [("no_data",)]


async def test_what_a_clock_that_was_ahead_took_for_silence_is_over_once_it_is_right(world: World) -> None:
    meters = world.meters(1)
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + DAY)
    before = world.alerts("rule, state")
    world.readings(meters, NOON + 10 * SECOND, NOON + MINUTE)
    await world.listen(NOON + MINUTE)

    assert (before, world.alerts("rule, state")) == ([("no_data", "firing")], [("no_data", "resolved")])


async def test_a_worker_whose_clock_is_a_little_behind_looks_no_more_often(world: World) -> None:
    """C11: with two instances each does half, or both all."""
    meters = world.meters(1)
    await world.listen(NOON + MINUTE, in_turn=True)
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + 55 * SECOND, in_turn=True)

    assert world.alerts("rule") == []
