"""Whoever gave a meter away sees alerts that were over by then, and nothing of those that went on."""

from datetime import datetime
from typing import Any

import psycopg
import pytest

from tests.integration.alerts.conftest import MINUTE, NOON, World

OPS, ADA, NEW = 1, 2, 4
LOW = {"voltage_l1_v": 200.0}


def _as(world: World, user_id: int, statement: str, *parameters: object) -> list[dict[str, Any]]:
    with world.domain.transaction():
        world.do("SELECT set_config('segs.user_id', %s, true)", str(user_id))
        world.do("SET LOCAL ROLE segs_api")
        world.do("SELECT audit_access('alerts', ARRAY[1], NULL)")
        return world.rows(statement, *parameters)


async def _moved_out(world: World) -> datetime:
    """Ada's meter is another's from when this returns; the alert of before goes on."""
    world.do("INSERT INTO users (email, name, region) VALUES ('new@example.org', 'New', 'north')")
    at = await world.live(world.meters(phases=1), NOON, 10, **LOW) + MINUTE
    world.do("UPDATE meter_owners SET valid = tstzrange('-infinity', %s)", at)
    world.do("INSERT INTO meter_owners (meter_id, user_id, valid) VALUES (1, 4, tstzrange(%s, 'infinity'))", at)
    return at


@pytest.mark.parametrize(("user", "seen"), [(ADA, []), (OPS, ["acknowledged", "fired", "worse"]), (NEW, [])])
async def test_what_becomes_of_an_alert_after_they_left_is_not_theirs_to_see(
    world: World, user: int, seen: list[str]
) -> None:
    at = await world.live([1], await _moved_out(world), 10, voltage_l1_v=190.0)
    world.do("SELECT alerts_acknowledge(ARRAY[1]::bigint[], 1, 'The new tenant lets us in at 5', %s)", at)

    assert [row["kind"] for row in _as(world, user, "SELECT kind FROM alert_events ORDER BY 1")] == seen
    # How bad it was at the worst, and whether it is over, is of the time after.
    assert len(_as(world, user, "SELECT FROM alerts")) == bool(seen)


async def test_what_was_over_before_they_left_stays_theirs_to_see_and_not_what_was_said_later(world: World) -> None:
    at = await _moved_out(world)
    closed = at - 2 * MINUTE
    world.do("SELECT alerts_close(ARRAY[1]::bigint[], 1, 'Mended', %s)", closed)
    world.do(
        "INSERT INTO alert_events (alert_id, kind, event_at, user_id, text, created_at)"
        " VALUES (1, 'commented', %s, 1, 'The new tenant is happy', %s)",
        *(at + MINUTE, at + MINUTE),
    )

    assert [row["state"] for row in _as(world, ADA, "SELECT state FROM alerts")] == ["resolved"]
    kinds = [row["kind"] for row in _as(world, ADA, "SELECT kind FROM alert_events ORDER BY alert_event_id")]
    assert kinds == ["fired", "closed"]
    assert _as(world, NEW, "SELECT FROM alerts") == []


async def test_nor_does_a_stream_tell_them(world: World) -> None:
    at = await _moved_out(world)
    live = "SELECT * FROM caller_alert_events(%s, 500, %s)"
    begun = {user: _as(world, user, live, None, at)[0]["cursor"] for user in (ADA, OPS)}
    world.do("SELECT alerts_acknowledge(ARRAY[1]::bigint[], 1, 'The new tenant lets us in at 5', %s)", at)

    assert {user: len(_as(world, user, live, cursor, at)[0]["events"]) for user, cursor in begun.items()} == {
        ADA: 0,
        OPS: 1,
    }


async def test_who_left_says_nothing_more_to_it(world: World) -> None:
    at = await _moved_out(world)
    with pytest.raises(psycopg.Error) as refused:
        _as(world, ADA, "SELECT caller_comments_on_alert(1, 'Still here', %s)", at)

    assert refused.value.sqlstate == "SG110"
