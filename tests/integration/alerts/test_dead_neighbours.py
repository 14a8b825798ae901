"""A meter that is dead for days neither hides the silence of others nor lasts as theirs."""

from datetime import timedelta

from tests.integration.alerts.conftest import DAY, MINUTE, NOON, World

SECOND = timedelta(seconds=1)


async def _dead(world: World, dead: list[int], others: list[int]) -> None:
    """The ones were heard two days ago for the last time, and the others until noon."""
    world.readings([*dead, *others], NOON - 2 * DAY - SECOND, NOON - 2 * DAY)
    world.readings(others, NOON - SECOND, NOON)
    await world.listen(NOON + 5 * SECOND)


async def test_a_dead_meter_hides_no_silent_gateway(world: World) -> None:
    world.meters(20, gateway=world.gateway("else"))
    dead, *others = world.meters(6)
    await _dead(world, [dead], others)

    await world.listen(NOON + MINUTE)

    assert world.alerts("rule, gateway_id, value", "state <> 'resolved'") == [("gateway_silent", 1, 5.0)]


async def test_dead_meters_do_not_keep_a_site_silent_of_which_all_others_are_heard(world: World) -> None:
    world.meters(30, gateway=world.gateway("else"))
    meters = world.meters(12, site="mill")
    await _dead(world, meters[:3], meters[3:])
    await world.listen(NOON + MINUTE)
    during = world.alerts("rule", "state <> 'resolved'")
    world.readings(meters[3:], NOON + 2 * MINUTE, NOON + 3 * MINUTE)
    await world.listen(NOON + 3 * MINUTE)

    assert during == [("site_silent",)]
    assert world.alerts("rule, meter_id", "state <> 'resolved'") == [("no_data", meter) for meter in meters[:3]]
