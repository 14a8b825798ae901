"""A meter or a gateway that comes and goes is one alert that stays, and not two messages each time."""

from datetime import datetime, timedelta

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

SECOND = timedelta(seconds=1)


async def _come_and_go(world: World, meters: list[int], times: int) -> datetime:
    """Heard for a minute, and then not for nine, so often; when they were heard last."""
    for number in range(times):
        at = NOON + number * 10 * MINUTE
        world.readings(meters, at, at + MINUTE)
        await world.listen(at + MINUTE + SECOND)
        await world.tell(at + MINUTE + SECOND)
        await world.listen(at + 5 * MINUTE)
        await world.tell(at + 8 * MINUTE)
    return NOON + ((times - 1) * 10 + 1) * MINUTE


async def test_a_meter_that_falls_silent_again_and_again_is_one_alert_that_stays(world: World) -> None:
    meters = world.meters()
    heard = await _come_and_go(world, meters, 6)

    assert world.alerts("state, flapping") == [("resolved", False), ("resolved", False), ("firing", True)]
    assert len(world.messages()) == 2 * 5

    world.readings(meters, heard + 9 * MINUTE, heard + 75 * MINUTE)
    await world.listen(heard + 10 * MINUTE)
    during = world.alerts("state", "flapping")
    await world.listen(heard + 9 * MINUTE + HOUR)
    before = world.alerts("state", "flapping")
    await world.listen(heard + 10 * MINUTE + HOUR)
    await world.tell(heard + 10 * MINUTE + HOUR)

    assert (during, before, world.alerts("state", "flapping")) == (
        [("clearing",)],
        [("clearing",)],
        [("resolved",)],
    )
    assert len(world.messages()) == 2 * 6


async def test_a_gateway_that_falls_silent_again_and_again_is_one_alert_that_stays(world: World) -> None:
    meters = world.meters(2)
    heard = await _come_and_go(world, meters, 6)

    assert world.alerts("rule, state, flapping") == [
        ("gateway_silent", "resolved", False),
        ("gateway_silent", "resolved", False),
        ("gateway_silent", "firing", True),
    ]

    world.readings(meters, heard + 9 * MINUTE, heard + 75 * MINUTE)
    await world.listen(heard + 10 * MINUTE)
    during = world.alerts("state", "flapping")
    await world.listen(heard + 9 * MINUTE + HOUR)
    before = world.alerts("state", "flapping")
    await world.listen(heard + 10 * MINUTE + HOUR)
    await world.tell(heard + 10 * MINUTE + HOUR)

    assert (during, before, world.alerts("state", "flapping")) == (
        [("clearing",)],
        [("clearing",)],
        [("resolved",)],
    )


async def test_a_frequency_that_comes_and_goes_at_several_sites_is_one_alert_until_it_was_over_for_an_hour(
    world: World,
) -> None:
    meters = [*world.meters(site="mill"), *world.meters(site="farm")]
    at = NOON
    for _ in range(3):
        at = await world.live(meters, at, 3, frequency_hz=51)
        at = await world.live(meters, at, 3)
    found = [world.alerts("rule, state, flapping", "region IS NOT NULL")]
    for later in (55 * MINUTE, 65 * MINUTE):
        await world.hear(at + later)
        found.append(world.alerts("rule, state, flapping", "region IS NOT NULL"))

    before = [("region_over_frequency", "resolved", False)] * 2
    assert found == [
        [*before, ("region_over_frequency", "clearing", True)],
        [*before, ("region_over_frequency", "clearing", True)],
        [*before, ("region_over_frequency", "resolved", True)],
    ]
