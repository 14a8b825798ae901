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


async def test_who_closes_a_region_s_alert_hears_of_no_meter_that_came_to_it_by_way_of_its_site(world: World) -> None:
    fast = world.meters(2, site="Mill", interval_s=10)
    mill, others = world.meters(4, site="Mill", interval_s=60), world.meters(12, interval_s=240)
    world.readings([*fast, *mill, *others], NOON - MINUTE, NOON)
    for seconds, told in ((31, 155), (185, 190), (725, 730)):
        await world.listen(NOON + timedelta(seconds=seconds))
        await world.tell(NOON + timedelta(seconds=told))
    parts = world.alerts("rule, (SELECT w.rule FROM alerts AS w WHERE w.alert_id = alerts.part_of) AS whole")
    during = len(world.messages())
    [(region,)] = world.alerts("alert_id", "rule = 'region_silent'")

    world.do("SELECT alerts_close(ARRAY[%s]::bigint[], 1, NULL, %s)", region, NOON + 13 * MINUTE)
    await world.tell(NOON + 13 * MINUTE)

    assert parts == [*[("no_data", "site_silent")] * 2, ("site_silent", "region_silent"), ("region_silent", None)]
    assert sorted(world.messages()[during:]) == [
        *[(2, "alert_resolved", "no_data")] * 2,
        (2, "alert_resolved", "site_silent"),
    ]
