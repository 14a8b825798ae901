"""Nobody says that nothing comes any more: meters, gateways, sites and regions that go silent, by the clock."""

from datetime import timedelta

import pytest

from tests.integration.alerts.conftest import DAY, HOUR, MINUTE, NOON, World

SECOND = timedelta(seconds=1)


def heard(world: World, meters: list[int], last: object = NOON) -> None:
    """The last reading of each was at `last`."""
    world.measure_do(
        "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) SELECT %s, m, 1, 100 FROM unnest(%s) AS m"
        " ON CONFLICT DO NOTHING",
        *(last, meters),
    )


async def test_a_meter_is_missed_after_three_of_its_intervals(world: World) -> None:
    """C5 and C10: outages are invisible, and the outage rule can never fire."""
    [fast], [slow] = world.meters(interval_s=10), world.meters(interval_s=60, gateway=world.gateway("else"))
    world.meters(3, gateway=world.gateway("others"))
    heard(world, [fast, slow])

    found = {}
    for seconds in (29, 31, 170, 181):
        await world.listen(NOON + seconds * SECOND)
        found[seconds] = [meter for _, meter, *_ in world.alerts()]

    assert found == {29: [], 31: [fast], 170: [fast], 181: [fast, slow]}
    assert world.alerts("severity, started_at, message", f"meter_id = {fast}") == [
        ("warning", NOON, "Time without a reading: 3.1 intervals, above 3")
    ]


async def test_what_is_on_its_way_for_some_seconds_is_no_silence(world: World) -> None:
    """A meter that is read each second is not silent while a batch gathers: or a healthy region is a blackout."""
    meters = world.meters(5, interval_s=1)
    heard(world, meters)

    found = {}
    for seconds in (4, 14, 16):
        await world.listen(NOON + seconds * SECOND)
        found[seconds] = world.alerts("rule")

    assert found == {4: [], 14: [], 16: [("region_silent",)]}


async def test_of_a_meter_that_nothing_reads_any_more_nothing_is_expected(world: World) -> None:
    """Its registration has ended in the domain, and telemetry has not learnt of that yet."""
    ended, stays = world.meters(2, interval_s=10)
    heard(world, [ended, stays])
    world.do("UPDATE devices SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s", NOON, ended)

    await world.listen(NOON + MINUTE)

    assert world.alerts("meter_id") == [(stays,)]


async def test_what_was_closed_as_one_alert_is_not_one_of_each_meter_after_a_day(world: World) -> None:
    """Also where somebody closed an alert of one of them by hand before."""
    meters = world.meters(5)
    heard(world, meters)
    world.do(
        "INSERT INTO alerts (rule, meter_id, category, severity, state, message, started_at, fired_at, resolved_at,"
        " resolved_by) VALUES ('no_data', %s, 'data', 'warning', 'resolved', 'x', %s, %s, %s, 1)",
        *(meters[0], NOON - 9 * DAY, NOON - 9 * DAY, NOON - 8 * DAY),
    )
    await world.listen(NOON + HOUR)
    [region] = world.alerts("alert_id", "rule = 'region_silent'")[0]

    world.do("SELECT alerts_close(ARRAY[%s]::bigint[], 1, NULL, %s)", region, NOON + HOUR)
    for hours in (2, 25, 49):
        await world.listen(NOON + hours * HOUR)

    assert world.alerts("rule, state", f"started_at >= '{NOON}'") == [("region_silent", "resolved")]


async def test_it_is_over_when_the_meter_is_heard_again_and_not_before(world: World) -> None:
    """C10: a dead meter is forgotten after an hour."""
    [meter] = world.meters(interval_s=10)
    heard(world, [meter])
    for at in (NOON + MINUTE, NOON + 2 * HOUR, NOON + 40 * DAY):
        world.measure_do(
            "INSERT INTO vee_meters (meter_id, last_actual, last_day, daily_import_wh)"
            " VALUES (%s, %s, '2026-06-10', array_fill(NULL::bigint, ARRAY[21])) ON CONFLICT DO NOTHING",
            *(meter, NOON - 15 * MINUTE),
        )
        await world.listen(at)
    # Its readings are not kept for so long; that it is silent is known all the same.
    silent = world.alerts("rule, state, severity")
    heard(world, [meter], NOON + 41 * DAY)
    await world.listen(NOON + 41 * DAY + SECOND)

    assert silent == [("no_data", "firing", "critical")]
    assert world.alerts("state, resolved_at") == [("resolved", NOON + 41 * DAY + SECOND)]


async def test_after_a_day_it_is_critical_and_told_again(world: World) -> None:
    [meter] = world.meters(interval_s=10)
    heard(world, [meter])
    for at in (NOON + MINUTE, NOON + DAY - SECOND):
        await world.listen(at)
        await world.tell(at + 3 * MINUTE)
    before = world.alerts("severity")
    await world.listen(NOON + DAY + SECOND)
    await world.tell(NOON + DAY + SECOND)

    assert (before, world.alerts("severity")) == ([("warning",)], [("critical",)])
    assert world.messages() == [(1, "alert", "no_data"), (2, "alert", "no_data")] * 2


async def test_one_that_was_never_heard_is_not_missed(world: World) -> None:
    world.meters(5)

    await world.listen(NOON)

    assert world.alerts() == []


async def test_meters_that_left_are_not_missed(world: World) -> None:
    left, moved, stays = world.meters(3, interval_s=10)
    heard(world, [left, moved, stays])
    world.do("UPDATE meters SET status = 'decommissioned' WHERE meter_id = %s", left)
    world.measure_do("DELETE FROM device_registry WHERE meter_id = %s", moved)
    await world.listen(NOON + MINUTE)

    assert [meter for _, meter, *_ in world.alerts()] == [stays]


async def test_half_of_a_site_that_goes_silent_together_is_one_alert(world: World) -> None:
    world.meters(20, gateway=world.gateway("else"), interval_s=10)
    site = world.meters(6, site="Mill", interval_s=10)
    for number, meter in enumerate(site):
        heard(world, [meter], NOON + (0 if number < 3 else 100) * MINUTE + number * 10 * SECOND)

    await world.listen(NOON + MINUTE + 15 * SECOND)
    await world.tell(NOON + 10 * MINUTE)

    assert world.alerts("rule, site, severity, value, threshold") == [("site_silent", "Mill", "high", 3.0, 6.0)]
    assert world.messages() == [(1, "alert", "site_silent"), (2, "alert", "site_silent")]


async def test_a_site_whose_meters_are_read_every_quarter_of_an_hour_one_after_the_other_is_one_alert(
    world: World,
) -> None:
    """C10: whose readings are up to an interval apart fall silent as far apart."""
    world.meters(40, gateway=world.gateway("else"), interval_s=10)
    for number, meter in enumerate(world.meters(30, site="Mall", gateway=world.gateway("mall"), interval_s=900)):
        heard(world, [meter], NOON + number * 29 * SECOND)

    for minutes in range(40, 75, 5):
        await world.listen(NOON + minutes * MINUTE)
        await world.tell(NOON + minutes * MINUTE)

    assert world.alerts("rule, site, value, state") == [("site_silent", "Mall", 30.0, "firing")]
    assert world.messages() == [(1, "alert", "site_silent"), (2, "alert", "site_silent")]


@pytest.mark.parametrize("scope", ["site", "gateway"])
async def test_who_is_told_of_a_site_or_a_gateway_finds_it(world: World, scope: str) -> None:
    """D15: the mail names an alert, and whoever looks for it has to see it; nobody else does."""
    world.meters(20, gateway=world.gateway("else"), interval_s=10)
    meters = world.meters(4, site="Mall" if scope == "site" else None, gateway=world.gateway("mall"), interval_s=10)
    if scope == "site":
        world.meters(1, gateway=2, interval_s=10)
        world.do("UPDATE devices SET gateway_id = 1 WHERE meter_id = %s", meters[0])
    world.do("INSERT INTO users (email, name, region) VALUES ('eve@example.org', 'Eve', 'north')")
    world.do("UPDATE meter_owners SET user_id = 4 WHERE meter_id <> ALL (%s)", meters)
    heard(world, meters, NOON)
    await world.listen(NOON + 3 * MINUTE)
    await world.tell(NOON + 3 * MINUTE)

    assert sorted(world.messages()) == [(user, "alert", f"{scope}_silent") for user in (1, 2)]
    assert {user: _seen(world, user) for user in (1, 2, 4)} == {
        1: [f"{scope}_silent"],
        2: [f"{scope}_silent"],
        4: [],
    }
    world.do("UPDATE meter_owners SET valid = tstzrange('-infinity', now())")
    assert _seen(world, 2) == []


def _seen(world: World, user_id: int) -> list[str]:
    with world.domain.transaction():
        world.do("SELECT set_config('segs.user_id', %s, true)", str(user_id))
        world.do("SET LOCAL ROLE segs_api")
        world.do("SELECT audit_access('alerts', ARRAY[1], NULL)")
        return [row["rule"] for row in world.rows("SELECT rule FROM alerts ORDER BY alert_id")]


async def test_one_that_is_late_by_chance_hides_no_site_that_fell_silent(world: World) -> None:
    """C10: of ten thousand meters one is always late, and what began long before it is together all the same."""
    world.meters(20, gateway=world.gateway("else"), interval_s=10)
    site = world.meters(6, site="Mill", interval_s=60)
    [late] = world.meters(site="Mill", interval_s=10)
    heard(world, site)
    heard(world, [late], NOON + 165 * SECOND)

    await world.listen(NOON + 181 * SECOND)

    assert world.rows("SELECT state FROM alert_states WHERE meter_id = %s", late) == [{"state": "pending"}]
    assert world.alerts("rule, site, value") == [("site_silent", "Mill", 6.0)]


async def test_the_alert_of_a_site_stays_until_few_are_left_of_it(world: World) -> None:
    """Half of it makes the alert; it does not come and go with each meter that is heard again."""
    world.meters(20, gateway=world.gateway("else"), interval_s=10)
    site = world.meters(10, site="Mill", interval_s=10)
    heard(world, site[:5])
    await world.listen(NOON + MINUTE)
    states = world.alerts("state", "rule = 'site_silent'")
    for left in (4, 3, 2):
        at = NOON + (6 - left) * MINUTE
        heard(world, site[left:5], at)
        await world.listen(at + SECOND)
        states += world.alerts("state", "rule = 'site_silent'")

    assert states == [("firing",), ("firing",), ("firing",), ("resolved",)]


async def test_the_alert_of_a_gateway_becomes_part_of_that_of_its_site(world: World) -> None:
    others = world.gateway("else")
    world.meters(20, gateway=others, interval_s=10)
    first = world.meters(2, site="Mill", interval_s=10)
    second = world.meters(3, site="Mill", gateway=world.gateway("cellar"), interval_s=10)
    world.meters(1, site="Mill", gateway=others)
    heard(world, first)
    heard(world, second, NOON + MINUTE)
    await world.listen(NOON + 35 * SECOND)
    alone = world.alerts("rule, state")
    await world.listen(NOON + 2 * MINUTE)

    assert alone == [("gateway_silent", "firing")]
    [(site,)] = world.alerts("alert_id", "rule = 'site_silent'")
    assert world.alerts("rule, state, part_of") == [
        ("gateway_silent", "resolved", site),
        ("site_silent", "firing", None),
    ]


async def test_two_of_a_site_or_three_of_seven_or_of_different_times_are_meters(world: World) -> None:
    world.meters(30, gateway=world.gateway("else"))
    pair, seven, spread = (
        world.meters(count, site=name, gateway=world.gateway(name), interval_s=10)
        for count, name in ((2, "Two"), (7, "Seven"), (6, "Spread"))
    )
    heard(world, pair[:1])
    heard(world, seven[:3])
    for number, meter in enumerate(spread[:3]):
        heard(world, [meter], NOON - number * 3 * MINUTE)

    await world.listen(NOON + MINUTE)

    assert {rule for rule, *_ in world.alerts()} == {"no_data"}
    assert len(world.alerts()) == 7


async def test_all_meters_of_a_gateway_are_one_alert_of_it(world: World) -> None:
    world.meters(10, gateway=world.gateway("else"))
    meters = world.meters(4, interval_s=10)
    heard(world, meters)

    await world.listen(NOON + MINUTE)

    assert world.alerts("rule, gateway_id") == [("gateway_silent", 1)]


@pytest.mark.long
async def test_a_region_of_ten_thousand_meters_that_goes_silent_is_one_alert_and_one_message(world: World) -> None:
    """C10: a silent region emits nothing, so a blackout is undetectable."""
    world.do("INSERT INTO users (email, name, region, role) VALUES ('eve@example.org', 'Eve', 'north', 'OPERATOR')")
    world.do("INSERT INTO operator_regions (user_id, region) SELECT user_id, 'north' FROM users WHERE name = 'Eve'")
    meters = world.meters(10_000, interval_s=10)
    for phase in range(10):
        heard(world, meters[phase::10], NOON - phase * SECOND)

    for seconds in (15, 22, 31, 40, 50, 100):
        await world.listen(NOON + seconds * SECOND)
        await world.tell(NOON + seconds * SECOND)
    for minutes in (2, 5, 10):
        await world.tell(NOON + minutes * MINUTE)

    assert world.alerts("rule, region, severity, state, part_of") == [
        ("region_silent", "north", "critical", "firing", None)
    ]
    [(fired,)] = world.alerts("fired_at")
    assert fired <= NOON + 31 * SECOND
    assert world.messages() == [(1, "alert", "region_silent"), (4, "alert", "region_silent")]


async def test_who_stays_silent_when_the_region_is_back_gets_an_alert_of_its_own(world: World) -> None:
    meters = world.meters(20, interval_s=10)
    heard(world, meters)
    await world.listen(NOON + MINUTE)
    await world.tell(NOON + MINUTE)
    heard(world, meters[2:], NOON + HOUR)
    await world.listen(NOON + HOUR + SECOND)
    await world.tell(NOON + HOUR + 5 * MINUTE)

    assert world.alerts("rule, meter_id, state") == [
        ("region_silent", None, "resolved"),
        ("no_data", meters[0], "firing"),
        ("no_data", meters[1], "firing"),
    ]
    assert world.messages()[:2] == [(1, "alert", "region_silent"), (1, "alert_resolved", "region_silent")]


async def test_meters_that_went_first_join_the_region_that_follows(world: World) -> None:
    """Those that are read more often are missed first; nobody is told of them, and then of the region."""
    fast, slow = world.meters(4, interval_s=10), world.meters(8, interval_s=60)
    heard(world, [*fast, *slow])
    await world.listen(NOON + 31 * SECOND)
    await world.tell(NOON + 31 * SECOND)
    first = world.alerts("rule, state")
    for seconds in (91, 120, 181, 400):
        await world.listen(NOON + seconds * SECOND)
        await world.tell(NOON + seconds * SECOND)

    assert first == [("no_data", "firing")] * 4
    [(region,)] = world.alerts("alert_id", "rule = 'region_silent'")
    assert world.alerts("state, part_of", "rule = 'no_data'") == [("resolved", region)] * 4
    assert world.messages() == [(1, "alert", "region_silent")]


@pytest.mark.parametrize("sites", [1, 2])
async def test_a_frequency_that_several_sites_agree_on_is_critical(world: World, sites: int) -> None:
    meters = [meter for number in range(sites) for meter in world.meters(2, site=f"site {number}")]
    others = world.meters(3, site="quiet")

    world.minutes(others, NOON)
    world.minutes(meters, NOON, frequency_hz=49.2)
    await world.look(NOON + MINUTE + 6 * SECOND)
    await world.tell(NOON + 5 * MINUTE)

    told = [rule for _, _, rule in world.messages()]
    if sites == 1:
        assert [row[0] for row in world.alerts()] == ["under_frequency"] * 2
        assert told == ["under_frequency"] * 2
    else:
        assert world.alerts("rule, region, severity") == [("region_under_frequency", "north", "critical")]
        assert told == ["region_under_frequency"]
