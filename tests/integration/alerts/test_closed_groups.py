"""Who was told of a meter before something larger stood for it hears that it is over, whoever closes that."""

from datetime import timedelta

from tests.integration.alerts.conftest import MINUTE, NOON, World


async def test_who_was_told_of_a_meter_hears_of_its_end_where_the_larger_alert_is_closed(world: World) -> None:
    fast, slow = world.meters(4, interval_s=10), world.meters(8, interval_s=120)
    world.readings([*fast, *slow], NOON - MINUTE, NOON)
    await world.listen(NOON + timedelta(seconds=31))
    await world.tell(NOON + 3 * MINUTE)
    await world.listen(NOON + 7 * MINUTE)
    await world.tell(NOON + 7 * MINUTE)
    during = len(world.messages())
    [(region,)] = world.alerts("alert_id", "rule = 'region_silent'")
    world.do("SELECT alerts_close(ARRAY[%s]::bigint[], 1, NULL, %s)", region, NOON + 8 * MINUTE)
    await world.tell(NOON + 8 * MINUTE)
    world.readings([*fast, *slow], NOON + 9 * MINUTE, NOON + 10 * MINUTE)
    await world.listen(NOON + 10 * MINUTE)
    await world.tell(NOON + 10 * MINUTE)

    assert world.messages()[during:] == [(2, "alert_resolved", "no_data")] * 4
    assert world.alerts("resolved_at", "rule = 'no_data'") == [(NOON + 8 * MINUTE,)] * 4
