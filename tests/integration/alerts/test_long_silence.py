"""What stands for many gets worse as each of them would."""

from datetime import timedelta

from tests.integration.alerts.conftest import DAY, MINUTE, NOON, World


async def test_a_site_that_is_silent_for_a_day_is_critical_as_each_of_its_meters_would_be(world: World) -> None:
    world.meters(20, gateway=world.gateway("else"))
    meters = world.meters(4, site="mill")
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + 2 * MINUTE)
    await world.tell(NOON + 2 * MINUTE)
    first = world.alerts("rule, severity", "state <> 'resolved'")
    await world.listen(NOON + DAY + timedelta(seconds=1))
    await world.tell(NOON + DAY + timedelta(seconds=1))

    assert first == [("site_silent", "high")]
    assert world.alerts("rule, severity", "state <> 'resolved'") == [("site_silent", "critical")]
    assert world.messages() == [
        *((1, "alert", "site_silent"), (2, "alert", "site_silent")),
        *((1, "alert", "site_silent"), (2, "alert", "site_silent")),
    ]
