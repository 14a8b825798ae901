"""Where one thing ends and another begins: work and escalation, regions, the present and history, what is held back."""

from datetime import timedelta

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

LOW = {"voltage_l1_v": 190.0}


async def test_while_work_is_done_nobody_is_called_for_want_of_anybody(world: World) -> None:
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW)
    await world.tell(at)
    world.do("SELECT maintenance_add(1, NULL, NULL, NULL, %s, %s, 'Work', %s)", at, at + HOUR, at)
    await world.tell(at + 16 * MINUTE)
    during = world.alerts("escalations")
    await world.tell(at + HOUR)

    assert (during, world.alerts("escalations")) == ([(0,)], [(1,)])


async def test_a_site_is_closed_by_operators_of_its_regions_alone(world: World) -> None:
    world.do("INSERT INTO regions (region, name, timezone) VALUES ('south', 'South', 'UTC')")
    world.do("INSERT INTO users (email, name, region, role) VALUES ('far@example.org', 'Far', 'south', 'OPERATOR')")
    world.do("INSERT INTO operator_regions (user_id, region) VALUES (4, 'south')")
    world.meters(20, gateway=world.gateway("else"))
    meters = world.meters(4, site="mill")
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + 2 * MINUTE)
    outcomes = []
    for user in (4, 1):
        with world.domain.transaction():
            world.do("SELECT set_config('segs.user_id', %s, true)", str(user))
            act = "SELECT outcome FROM caller_acts_on_alerts('close', ARRAY(SELECT alert_id FROM alerts), NULL, %s)"
            outcomes += [row["outcome"] for row in world.rows(act, NOON + 3 * MINUTE)]

    assert outcomes == ["absent", "done"]


async def test_what_ended_twenty_minutes_ago_and_comes_now_is_history(world: World) -> None:
    world.minutes(world.meters(phases=1), NOON, 10, **LOW)
    await world.look(NOON + 30 * MINUTE)
    await world.tell(NOON + 30 * MINUTE)

    assert (world.alerts("state, late"), world.messages()) == ([("resolved", True)], [])


async def test_what_is_held_back_and_gets_worse_is_told_once(world: World) -> None:
    world.do("""SELECT alert_rule_set('under_voltage', NULL, NULL, '{"hold_s": 3600}', %s)""", NOON - timedelta(days=1))
    [meter] = world.meters(phases=1)
    at = await world.live([meter], NOON, 10, voltage_l1_v=200)
    at = await world.live([meter], at, 10, **LOW)
    await world.tell(at)
    early = world.messages()
    await world.tell(NOON + 2 * HOUR)

    assert early == []
    assert [template for user, template, _ in world.messages() if user == 1] == ["alert"]
