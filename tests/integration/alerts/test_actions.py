"""Alerts are taken on, commented on and closed by people, each in their own name."""

from typing import Any

import pytest
from psycopg import errors

from tests.integration.alerts.conftest import HOUR, MINUTE, NOON, World

OPS, ADA, ROOT = 1, 2, 3
GOOD: dict[str, float | None] = {"voltage_l2_v": None, "voltage_l3_v": None}
LOW = GOOD | {"voltage_l1_v": 200.0}


def _as(world: World, user_id: int, statement: str, *parameters: object) -> list[dict[str, Any]]:
    """In the transaction of a request of theirs."""
    with world.domain.transaction():
        world.do("SELECT set_config('segs.user_id', %s, true)", str(user_id))
        world.do("SELECT set_config('segs.actor', %s, true)", f"user:{user_id}")
        return world.rows(statement, *parameters)


def _act(
    world: World, user_id: int, action: str, *alerts: int, note: str | None = None, at: Any = NOON + HOUR
) -> list[tuple[int, str]]:
    found = _as(
        world, user_id, "SELECT * FROM caller_acts_on_alerts(%s, %s, %s, %s) ORDER BY 1", action, list(alerts), note, at
    )
    return [(row["alert_id"], row["outcome"]) for row in found]


async def _under_voltage(world: World, count: int = 1) -> list[int]:
    """An alert of each of so many meters."""
    meters = world.meters(count)
    await world.live(meters, NOON, 10, **LOW)
    return [row[0] for row in world.alerts("alert_id")]


async def test_who_takes_an_alert_on_is_written_down_and_it_escalates_no_more(world: World) -> None:
    """D13, D14: one statement acknowledges, and there is no second key that stays."""
    [alert] = await _under_voltage(world)
    world.do("UPDATE alerts SET severity = 'critical'")
    told = NOON + 11 * MINUTE
    await world.tell(told)

    assert _act(world, OPS, "acknowledge", alert, note="On the way", at=told + MINUTE) == [(alert, "done")]
    await world.tell(told + 16 * MINUTE)
    await world.tell(told + 31 * MINUTE)

    assert world.alerts("acknowledged_by, state, escalations") == [(OPS, "firing", 0)]
    events = world.rows("SELECT kind, user_id, text FROM alert_events WHERE user_id IS NOT NULL")
    assert events == [{"kind": "acknowledged", "user_id": OPS, "text": "On the way"}]
    logged = world.rows(
        "SELECT DISTINCT actor, table_name FROM audit_logs WHERE new ->> 'acknowledged_by' = '1' OR new ->> 'kind' ="
        " 'acknowledged' ORDER BY table_name"
    )
    assert logged == [
        {"actor": "user:1", "table_name": "alert_events"},
        {"actor": "user:1", "table_name": "alerts"},
    ]


async def test_an_alert_that_somebody_took_on_stays_theirs(world: World) -> None:
    [alert] = await _under_voltage(world)

    assert _act(world, OPS, "acknowledge", alert) == [(alert, "done")]
    assert _act(world, ROOT, "acknowledge", alert) == [(alert, "already")]

    assert world.alerts("acknowledged_by") == [(OPS,)]


async def test_what_is_said_while_closing_what_is_over_is_kept_as_a_comment(world: World) -> None:
    """A note that explained why was gone without a word, where somebody else or the meter itself was quicker."""
    alerts = await _under_voltage(world, 2)
    _act(world, ROOT, "close", alerts[0])

    outcomes = _act(world, OPS, "close", *alerts, note="The fuse was changed")
    assert outcomes == [(alerts[0], "already"), (alerts[1], "done")]
    assert _act(world, OPS, "close", *alerts) == [(alerts[0], "already"), (alerts[1], "already")]

    said = world.rows("SELECT alert_id, kind, user_id, text FROM alert_events WHERE user_id IS NOT NULL ORDER BY 1, 3")
    assert [tuple(row.values()) for row in said] == [
        (alerts[0], "commented", OPS, "The fuse was changed"),
        (alerts[0], "closed", ROOT, None),
        (alerts[1], "closed", OPS, "The fuse was changed"),
    ]


async def test_what_fires_again_is_to_be_taken_on_again(world: World) -> None:
    """D14: nothing of an acknowledgement is left behind."""
    [alert] = await _under_voltage(world)
    _act(world, OPS, "acknowledge", alert)
    [meter] = [row[0] for row in world.alerts("meter_id")]
    await world.live([meter], NOON + 10 * MINUTE, 20, **GOOD)
    await world.live([meter], NOON + 30 * MINUTE, 10, **LOW)

    assert world.alerts("state, acknowledged_by") == [("resolved", OPS), ("firing", None)]


async def test_of_many_alerts_what_became_of_each_is_told(world: World) -> None:
    first, second = await _under_voltage(world, 2)
    _act(world, OPS, "close", first)

    found = _act(world, OPS, "acknowledge", second, first, 4711)

    assert sorted(found) == [(first, "already"), (second, "done"), (4711, "absent")]


async def test_customers_take_nothing_on_and_operators_nothing_of_other_regions(world: World) -> None:
    [alert] = await _under_voltage(world)
    world.do("INSERT INTO regions (region, name, timezone) VALUES ('south', 'South', 'UTC')")
    world.do("UPDATE operator_regions SET region = 'south'")

    assert _act(world, OPS, "acknowledge", alert) == [(alert, "absent")]
    for action in ("acknowledge", "close"):
        with pytest.raises(errors.Error) as refused:
            _act(world, ADA, action, alert)
        assert refused.value.sqlstate == "SG080"
    assert world.alerts("state, acknowledged_by") == [("firing", None)]


async def test_more_than_five_hundred_at_once_are_refused(world: World) -> None:
    with pytest.raises(errors.Error) as refused:
        _act(world, OPS, "close", *range(1, 502))

    assert refused.value.sqlstate == "SG112"


async def test_a_closed_alert_does_not_open_anew_until_it_was_over_once(world: World) -> None:
    [alert] = await _under_voltage(world)
    [meter] = [row[0] for row in world.alerts("meter_id")]

    assert _act(world, OPS, "close", alert, note="Known", at=NOON + 10 * MINUTE) == [(alert, "done")]
    await world.live([meter], NOON + 10 * MINUTE, 20, **LOW)
    assert world.alerts("state, resolved_by") == [("resolved", OPS)]
    assert world.rows("SELECT state, alert_id FROM alert_states") == [{"state": "dismissed", "alert_id": None}]

    await world.live([meter], NOON + 30 * MINUTE, 10, **GOOD)
    await world.live([meter], NOON + 40 * MINUTE, 10, **LOW)

    assert world.alerts("state, resolved_by") == [("resolved", OPS), ("firing", None)]
    [event] = world.rows("SELECT user_id, text FROM alert_events WHERE kind = 'closed'")
    assert event == {"user_id": OPS, "text": "Known"}


async def test_who_closes_the_alert_of_a_site_closes_what_it_stands_for(world: World) -> None:
    """Otherwise each of its meters would have an alert of its own a moment later."""
    meters = world.meters(4, site="mill", interval_s=10)
    world.meters(6, site="farm")
    world.readings(meters, NOON - MINUTE, NOON)
    await world.listen(NOON + 2 * MINUTE)
    [alert] = [row[0] for row in world.alerts("alert_id", "site = 'mill' AND state <> 'resolved'")]

    assert _act(world, OPS, "close", alert, at=NOON + 3 * MINUTE) == [(alert, "done")]
    await world.listen(NOON + 4 * MINUTE)

    assert world.alerts("rule", "state <> 'resolved'") == []


async def test_who_sees_an_alert_comments_on_it(world: World) -> None:
    [alert] = await _under_voltage(world)
    world.do("INSERT INTO users (email, name, region, role) VALUES ('eve@example.org', 'Eve', 'north', 'USER')")

    for who in (ADA, OPS):
        _as(world, who, "SELECT caller_comments_on_alert(%s, %s, %s)", alert, f"by {who}", NOON + HOUR)
    with pytest.raises(errors.Error) as refused:
        _as(world, 4, "SELECT caller_comments_on_alert(%s, 'x', %s)", alert, NOON + HOUR)

    assert refused.value.sqlstate == "SG110"
    told = world.rows("SELECT user_id, text FROM alert_events WHERE kind = 'commented' ORDER BY 1")
    assert told == [{"user_id": OPS, "text": "by 1"}, {"user_id": ADA, "text": "by 2"}]


async def test_a_customer_does_not_comment_on_what_may_be_their_own_doing(world: World) -> None:
    [alert] = await _under_voltage(world)
    world.do("UPDATE alerts SET category = 'tamper'")

    with pytest.raises(errors.Error) as refused:
        _as(world, ADA, "SELECT caller_comments_on_alert(%s, 'x', %s)", alert, NOON + HOUR)

    assert refused.value.sqlstate == "SG110"


async def test_what_was_closed_and_gets_worse_is_told_of_anew(world: World) -> None:
    """Or somebody closes a warning, and what becomes of it is silent."""
    meters = world.meters(1)
    at = await world.live(meters, NOON, 10, **GOOD, voltage_l1_v=204.0)
    [first] = world.alerts("alert_id")[0]
    _act(world, OPS, "close", first, at=at)
    at = await world.live(meters, at, 10, **GOOD, voltage_l1_v=204.0)
    before = world.alerts("severity, state")

    at = await world.live(meters, at, 20, **GOOD, voltage_l1_v=150.0)
    worse = world.alerts("severity, state")
    _act(world, OPS, "close", world.alerts("alert_id", "state <> 'resolved'")[0][0], at=at)
    await world.live(meters, at, 20, **GOOD, voltage_l1_v=150.0)

    assert before == [("warning", "resolved")]
    assert worse == [("warning", "resolved"), ("critical", "firing")]
    assert world.alerts("severity, state") == [("warning", "resolved"), ("critical", "resolved")]


async def test_a_silence_that_was_closed_is_told_of_anew_after_a_day(world: World) -> None:
    [meter] = world.meters()
    world.measure_do(
        "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (%s, %s, 1, 100)", NOON, meter
    )
    others = world.meters(3, gateway=world.gateway("others"))
    for hours in (1, 20, 25, 26):
        at = NOON + hours * HOUR
        world.measure_do(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) SELECT %s, m, 1, 100 FROM unnest(%s) AS m",
            *(at, others),
        )
        await world.listen(at)
        if hours == 1:
            _act(world, OPS, "close", world.alerts("alert_id", f"meter_id = {meter}")[0][0], at=at)

    told = world.alerts("severity, state, started_at", f"meter_id = {meter}")
    assert told == [("warning", "resolved", NOON), ("critical", "firing", NOON)]
