"""What no rule looks at any more is not left open: meters that leave, thresholds that are taken back."""

from datetime import datetime

import pytest

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

REVERSE = {"power_w": -200.0}


async def _reverse(world: World) -> datetime:
    [meter] = world.meters(exports=False, phases=1, rated_power_w=1000)
    at = await world.live([meter], NOON, 5, **REVERSE)
    await world.tell(at)
    assert world.alerts("rule, state") == [("reverse_power", "firing")]
    return at


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE meters SET status = 'decommissioned'",
        "UPDATE meters SET status = 'inactive'",
        "UPDATE meters SET exports = true",
        "DELETE FROM meter_locations",
    ],
)
async def test_an_alert_of_a_meter_that_nothing_is_measured_of_any_more_is_resolved(world: World, change: str) -> None:
    at = await _reverse(world)
    world.do(change)
    await world.hear(at + MINUTE)
    await world.tell(at + 2 * MINUTE)

    assert world.alerts("state, resolved_at") == [("resolved", at + MINUTE)]
    assert world.rows("SELECT FROM alert_states") == []
    last = world.rows("SELECT kind, text FROM alert_events WHERE kind = 'resolved'")
    assert last == [{"kind": "resolved", "text": "nothing is measured for the rule any more"}]


async def test_an_alert_of_a_threshold_that_its_customer_took_back_is_resolved(world: World) -> None:
    [meter] = world.meters()
    world.do("UPDATE user_preferences SET power_threshold_w = 2000 WHERE user_id = 2")
    at = await world.live([meter], NOON, 15, power_w=3000)
    await world.hear(at)
    stays = world.alerts("rule, state")
    world.do("UPDATE user_preferences SET power_threshold_w = NULL WHERE user_id = 2")
    await world.hear(at + MINUTE)

    assert stays == [("high_power", "firing")]
    assert world.alerts("rule, state") == [("high_power", "resolved")]


async def test_an_alert_of_a_customer_who_moved_out_is_resolved(world: World) -> None:
    """Their threshold is not the next one's."""
    [meter] = world.meters()
    world.do("UPDATE user_preferences SET power_threshold_w = 2000 WHERE user_id = 2")
    at = await world.live([meter], NOON, 15, power_w=3000)
    world.do("UPDATE meter_owners SET valid = tstzrange('-infinity', %s)", at)
    await world.hear(at + MINUTE)

    assert world.alerts("rule, state") == [("high_power", "resolved")]


async def test_an_alert_of_a_phase_that_is_said_not_to_be_connected_is_resolved(world: World) -> None:
    [meter] = world.meters(phases=7)
    at = await world.live([meter], NOON, 10, voltage_l2_v=200)
    world.do("UPDATE meters SET phases = 5")
    await world.hear(at + MINUTE)

    assert world.alerts("rule, phase, state", "rule = 'under_voltage'") == [("under_voltage", 2, "resolved")]


async def test_an_alert_of_a_meter_that_moves_to_where_its_rule_is_off_is_resolved(world: World) -> None:
    at = await _reverse(world)
    world.do("INSERT INTO regions (region, name, timezone) VALUES ('south', 'South', 'UTC')")
    world.do("SELECT alert_rule_set('reverse_power', 'south', NULL, '{\"enabled\": false}', %s)", at)
    world.do("UPDATE meter_locations SET region = 'south'")
    await world.hear(at + MINUTE)

    assert world.alerts("state") == [("resolved",)]


async def test_an_alert_of_a_gateway_that_is_taken_out_of_service_is_resolved(world: World) -> None:
    for number in range(6):
        at = NOON + number * MINUTE
        world.measure_do(
            "INSERT INTO gateway_reports (gateway_id, received_at, sent_at, clock_ahead_s, software, report)"
            " VALUES (1, %s, %s, 300, 'segs-edge', '{}') ON CONFLICT (gateway_id) DO UPDATE SET"
            " received_at = excluded.received_at",
            *(at, at),
        )
        await world.hear(at)
    fired = world.alerts("rule, state")
    world.do("UPDATE gateways SET disabled_at = %s", NOON + HOUR)
    await world.hear(NOON + HOUR)

    assert fired == [("gateway_clock", "firing")]
    assert world.alerts("rule, state") == [("gateway_clock", "resolved")]


async def test_what_is_measured_stays_open_however_often_it_is_asked_for(world: World) -> None:
    """A meter that sends nothing for a while is in service all the same: no data is not the end."""
    at = await _reverse(world)
    for hours in (1, 24, 240):
        await world.hear(at + hours * HOUR)

    assert world.alerts("state") == [("firing",)]
