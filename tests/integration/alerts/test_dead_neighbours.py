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


async def test_dead_meters_keep_their_alerts_through_the_silence_of_others(world: World) -> None:
    """D14: who took on a dead meter would be told of it anew, and escalated to, after each outage of its site."""
    world.meters(30, gateway=world.gateway("else"))
    meters = world.meters(12, site="mill")
    await _dead(world, meters[:3], meters[3:])
    await world.tell(NOON + 4 * MINUTE)
    world.do("SELECT alerts_acknowledge(ARRAY[1, 2, 3], 1, 'ordered', %s)", NOON + 4 * MINUTE)
    world.readings(meters[3:], NOON + SECOND, NOON + 5 * MINUTE)
    told = len(world.messages())

    await world.listen(NOON + 6 * MINUTE)
    await world.tell(NOON + 6 * MINUTE)
    world.readings(meters[3:], NOON + 7 * MINUTE, NOON + 8 * MINUTE)
    await world.listen(NOON + 8 * MINUTE)
    await world.tell(NOON + 30 * MINUTE)

    assert world.alerts("rule, meter_id, acknowledged_by", "state <> 'resolved'") == [
        ("no_data", meter, 1) for meter in meters[:3]
    ]
    assert {rule for _, _, rule in world.messages()[told:]} == {"site_silent"}
