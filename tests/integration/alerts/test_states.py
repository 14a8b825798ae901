"""An alert from its first sign to its end: what it waits for, how it clears, who closes it."""

from datetime import timedelta

from tests.integration.alerts.conftest import NOON, World


async def test_a_mean_of_ten_minutes_that_is_low_is_a_warning_and_one_that_is_lower_critical(world: World) -> None:
    meters = world.meters(2)
    until = await world.live(meters[:1], NOON, 10, voltage_l1_v=200)
    await world.live(meters[1:], NOON, 10, voltage_l2_v=190)

    await world.tell(until + timedelta(seconds=7))

    assert world.alerts() == [
        ("unbalance", meters[0], 0, "warning", "firing"),
        ("under_voltage", meters[0], 1, "warning", "firing"),
    ]
