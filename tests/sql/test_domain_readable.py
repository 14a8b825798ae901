"""The one statement that screens ask for all the time knows the same rule as the policies."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cloud.db.queries import Queries
from tests.sql.people import ADA, BOB, FAR, GONE, NOW, OPS, ROOT, People

CODES = [f"MTR-{n:08}" for n in range(1, 6)]
# A meter that moved from one region to the other, and from one customer to the other; one that will be given.
CHANGES = """
INSERT INTO meters (model) VALUES ('a'), ('b');
INSERT INTO meter_locations (meter_id, region, timezone, valid) VALUES
    (4, 'north', 'UTC', '[-infinity, 2026-02-01Z)'), (4, 'south', 'UTC', '[2026-02-01Z, infinity)'),
    (5, 'north', 'UTC', '[-infinity, infinity)');
INSERT INTO meter_owners (meter_id, user_id, valid) VALUES
    (4, 1, '[-infinity, 2026-01-01Z)'), (4, 2, '[2026-01-01Z, 2026-03-01Z)'), (4, 1, '[2026-03-01Z, infinity)'),
    (5, 2, '[2099-01-01Z, infinity)'), (5, 3, '[-infinity, 2026-01-01Z)');
"""


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    found.owner.execute(CHANGES)
    with found.owner:
        yield found


def _session(people: People, user_id: int) -> Any:
    row = people.owner.execute("SELECT family_id FROM sessions WHERE user_id = %s", [user_id]).fetchone()
    assert row is not None
    return row["family_id"]


def _readable(people: People, caller: int, codes: list[str] = CODES, *, every: str | None = None) -> dict[str, Any]:
    """As the API asks: customers by one statement, operators and admins by a second one, which writes it down."""
    asked = caller, _session(people, caller), "00000000-0000-0000-0000-000000000001", NOW, codes
    [row] = people.ask(None, "SELECT * FROM readable_meters(%s, %s, %s, %s, %s)", *asked)
    if row["role"] not in (None, "USER"):
        assert (row["codes"], row["meters"], row["grants"]) == (None, None, None)
        watched = "SELECT * FROM readable_meters_watched(%s, %s, %s, %s, %s, 'r-1', 'telemetry/latest', %s)"
        [row] = people.ask(None, watched, *asked, every)
    return row


def _ends(spans: list[list[str]]) -> list[tuple[object, ...]]:
    return [
        tuple(end if "infinity" in end else datetime.fromisoformat(end).astimezone(UTC) for end in span)
        for span in spans
    ]


@pytest.mark.parametrize("caller", [ADA, BOB, OPS, FAR, ROOT])
def test_everybody_reads_what_the_policies_let_them_read(people: People, caller: int) -> None:
    """D12."""
    query = Queries("api_telemetry")["readable"].replace("m.meter_code = %(code)s", "m.meter_code = ANY (%s)")
    by_policies = people.ask(caller, query, CODES)
    row = _readable(people, caller)
    expected = {meter["code"]: _ends(meter["spans"]) for meter in by_policies}
    names = dict(zip(map(str, row["meters"]), row["codes"], strict=True))
    assert {names[number]: _ends(spans) for number, spans in json.loads(row["grants"]).items()} == expected
    assert expected
    assert len(expected) < len(CODES) or caller == ROOT


def test_a_session_that_is_over_reads_nothing(people: People) -> None:
    """D7."""
    ask = "SELECT * FROM readable_meters(%s, %s, %s, %s, %s)"
    family, jti = _session(people, ADA), "00000000-0000-0000-0000-000000000001"

    def role(user_id: int, family_id: object) -> object:
        [row] = people.ask(None, ask, user_id, family_id, jti, NOW, CODES)
        assert row["role"] is not None or (row["codes"], row["grants"]) == (None, None)
        return row["role"]

    assert role(ADA, family) == "USER"
    assert role(BOB, family) is None
    assert role(GONE, _session(people, GONE)) is None
    people.owner.execute(
        "INSERT INTO token_blacklist (jti, user_id, reason, created_at, expires_at)"
        " VALUES (%s, %s, 'logout', now(), now() + INTERVAL '1 hour')",
        [jti, ADA],
    )
    assert role(ADA, family) is None
    people.owner.execute("DELETE FROM token_blacklist")
    people.owner.execute("UPDATE sessions SET revoked_at = now(), revoke_reason = 'logout' WHERE user_id = %s", [ADA])
    assert role(ADA, family) is None


def _looks(people: People) -> list[tuple[object, ...]]:
    return [
        tuple(row.values())
        for row in people.owner.execute(
            "SELECT actor, request_id, table_name, row_key, subjects, meters, new FROM audit_logs"
            " WHERE action = 'READ' ORDER BY audit_id"
        )
    ]


def test_a_look_of_staff_is_in_the_log_and_a_customer_s_is_not(people: People) -> None:
    """D13."""
    _readable(people, ADA)
    assert _looks(people) == []
    for _ in range(2):
        _readable(people, OPS, ["MTR-00000001"])

    assert _looks(people) == 2 * [
        (f"user:{OPS}", "r-1", "telemetry/latest", "MTR-00000001", [ADA], [1], {"code": "MTR-00000001"})
    ]


def test_a_stream_that_asks_each_second_is_in_the_log_now_and_then(people: People) -> None:
    for _ in range(3):
        assert _readable(people, ROOT, CODES[:2], every="1 minute")["role"] == "ADMIN"
    assert [(look[3], look[4], look[5], look[6]) for look in _looks(people)] == [
        ("*", [ADA, BOB], [1, 2], {"codes": CODES[:2]})
    ]
    _readable(people, ROOT, CODES[:3], every="1 minute")
    _readable(people, ROOT, CODES[:3], every="0 s")
    assert len(_looks(people)) == 3


def test_staff_without_the_second_factor_that_their_role_asks_for_read_nothing(people: People) -> None:
    people.owner.execute("SELECT second_factor_require('ADMIN', true, now())")
    row = _readable(people, ROOT)
    assert (row["role"], row["codes"], row["grants"], row["second_factor_missing"]) == (None, None, None, True)
    assert _looks(people) == []
