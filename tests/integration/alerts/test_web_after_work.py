"""Who hears of alerts in the web alone hears after maintenance of what is not over, as others do by mail."""

from tests.integration.alerts.conftest import HOUR, NOON, World


async def test_what_outlasts_maintenance_is_told_in_the_web_as_well(world: World) -> None:
    """D15: no consumer gets what others get."""
    meters = world.meters(phases=1)
    world.do("SELECT maintenance_add(1, NULL, NULL, NULL, %s, %s, 'Work', %s)", NOON, NOON + HOUR, NOON)
    live = "SELECT * FROM caller_alert_events(%s, 500, %s)"
    world.do("SELECT set_config('segs.user_id', '2', false)")
    [begun] = world.rows(live, None, NOON)
    at = await world.live(meters, NOON, 10, voltage_l1_v=190.0)
    [during] = world.rows(live, begun["cursor"], at)
    await world.tell(at)
    await world.tell(NOON + HOUR)
    [after] = world.rows(live, during["cursor"], NOON + 2 * HOUR)

    assert (during["events"], len(after["events"])) == ([], 1)
