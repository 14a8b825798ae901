"""What is over in the domain database goes, a bounded number at a time, by one worker; what somebody needs stays."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection

from cloud.workers.cleanup import Cleanup
from tests.sql.people import ADA, BOB, DAY, HOUR, MINUTE, NOW, People

CLEAR = "SELECT table_name, cleared FROM clear_expired(%s, %s) WHERE cleared > 0"
WEEK = timedelta(days=7)


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        found.owner.execute("DELETE FROM sessions")
        yield found


def _clear(people: People, limit: int = 100) -> dict[str, int]:
    with people.owner.transaction():
        people.owner.execute("SET LOCAL ROLE segs_worker")
        return {row["table_name"]: row["cleared"] for row in people.owner.execute(CLEAR, [limit, NOW])}  # type: ignore[call-overload]


def _bucket(people: People, name: str, age: timedelta) -> None:
    people.owner.execute("INSERT INTO rate_buckets VALUES (%s, 1, true, %s)", [name, NOW - age])


def _token(people: People, user_id: int, born: timedelta, **more: Any) -> int:
    """A refresh token of 30 days that was given `born` ago."""
    columns: dict[str, Any] = {"created_at": NOW - born, "expires_at": NOW - born + 30 * DAY, **more}
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    row = people.owner.execute(
        f"INSERT INTO sessions (user_id, token_hash, {names})"
        f" VALUES (%s, sha256(gen_random_uuid()::text::bytea), {places}) RETURNING session_id",
        [user_id, *columns.values()],
    ).fetchone()
    assert row is not None
    return int(row["session_id"])


def _left(people: People, query: LiteralString) -> list[Any]:
    return [next(iter(row.values())) for row in people.owner.execute(query)]


def test_what_is_over_goes_and_what_is_not_stays(people: People) -> None:
    for age in (HOUR, 2 * DAY):
        _bucket(people, f"login:{age}", age)
        born = NOW - age - 15 * MINUTE
        people.owner.execute(
            "INSERT INTO password_proofs VALUES (sha256(%s::text::bytea), 1, %s, %s)", [age, born, born + 15 * MINUTE]
        )
        people.owner.execute(
            "INSERT INTO otp_verifications (user_id, purpose, code_hash, attempts, created_at, expires_at,"
            " superseded_at) VALUES (1, 'verify_email', sha256('x'), 5, %s, %s, %s)",
            [born, born + 10 * MINUTE, born],
        )
        people.owner.execute(
            "INSERT INTO token_blacklist VALUES (gen_random_uuid(), 1, 'logout', %s, %s)", [born, born + MINUTE]
        )
    send = (
        "INSERT INTO outbox (user_id, channel, template, created_at, expires_at, delivered_at)"
        " VALUES (1, 'email', %s, %s, %s, %s)"
    )
    long_ago = NOW - 60 * DAY
    people.owner.execute(send, ["waits", long_ago, None, None])
    people.owner.execute(send, ["delivered", long_ago, None, long_ago])
    people.owner.execute(send, ["came_too_late", long_ago, long_ago + HOUR, None])
    people.owner.execute(send, ["new", NOW - DAY, None, NOW - DAY])

    expected = {"rate_buckets": 1, "password_proofs": 1, "otp_verifications": 1, "token_blacklist": 1, "outbox": 2}
    assert _clear(people) == expected
    assert _left(people, "SELECT template FROM outbox ORDER BY 1") == ["new", "waits"]
    assert _left(people, "SELECT bucket FROM rate_buckets") == [f"login:{HOUR}"]
    assert _clear(people) == {}


def test_wrong_guesses_go_on_counting_after_a_cleanup(people: People) -> None:
    """D10: a new code resets the attempts."""
    born = NOW - 50 * MINUTE
    people.owner.execute(
        "INSERT INTO otp_verifications (user_id, purpose, code_hash, attempts, created_at, expires_at)"
        " VALUES (1, 'verify_email', sha256('x'), 5, %s, %s)",
        [born, born + 10 * MINUTE],
    )
    _clear(people)
    assert people.one(None, "SELECT otp_check(1, 'verify_email', sha256('x'), %s)", NOW) == "locked"


def test_tokens_that_are_over_go_but_the_first_of_a_login_that_lives_on(people: People) -> None:
    """Its time is what ending all sessions is held against: a token that was rotated just then must not wake up."""
    first = _token(people, ADA, 45 * DAY, rotated_at=NOW - 40 * DAY)
    family = _left(people, "SELECT family_id FROM sessions")[0]
    _token(people, ADA, 40 * DAY, family_id=family, rotated_at=NOW - 5 * DAY)
    live = _token(people, ADA, 5 * DAY, family_id=family)
    _token(people, BOB, 45 * DAY, rotated_at=NOW - 40 * DAY)
    _token(people, BOB, 45 * DAY, revoked_at=NOW - 40 * DAY, revoke_reason="logout")
    people.owner.execute("UPDATE users SET tokens_valid_from = %s WHERE user_id = 1", [NOW - 6 * DAY])
    enter = "SELECT role FROM session_enter(1, %s, gen_random_uuid(), 'r', %s)"

    assert _clear(people) == {"sessions": 3}
    assert _left(people, "SELECT session_id FROM sessions ORDER BY 1") == [first, live]
    assert people.one(None, enter, family, NOW) is None


def test_no_more_rows_than_asked_for_go_in_one_transaction(people: People) -> None:
    for number in range(7):
        _bucket(people, f"b{number}", 2 * DAY)
        _token(people, ADA, 40 * DAY)

    assert [_clear(people, 5), _clear(people, 5), _clear(people, 5)] == [
        {"rate_buckets": 5},
        {"rate_buckets": 2, "sessions": 3},
        {"sessions": 4},
    ]


def test_a_row_that_somebody_holds_is_left_and_not_waited_for(people: People) -> None:
    _bucket(people, "held", 2 * DAY)
    _bucket(people, "free", 2 * DAY)
    with psycopg.connect(people.dsn) as other:
        other.execute("UPDATE rate_buckets SET tokens = 2 WHERE bucket = 'held'")
        people.owner.execute("SET lock_timeout = '1s'")

        assert _clear(people) == {"rate_buckets": 1}
    assert _left(people, "SELECT bucket FROM rate_buckets") == ["held"]


@pytest.mark.parametrize(("table", "column"), [("idempotency_keys", "expires_at"), ("login_networks", "last_at")])
def test_what_a_database_does_not_have_yet_is_cleared_once_it_has(people: People, table: str, column: str) -> None:
    people.owner.execute(f"DROP TABLE IF EXISTS {table}")
    assert _clear(people) == {}
    people.owner.execute(
        f"CREATE TABLE {table} AS SELECT t AS {column} FROM unnest(%s) AS t", [[NOW - 91 * DAY, NOW + DAY]]
    )
    assert _clear(people) == {table: 1}


def test_no_other_service_clears_anything(people: People) -> None:
    for role in ("segs_api", "segs_readonly", "segs_ingest"):
        people.owner.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            people.owner.execute(CLEAR, [1, NOW])
        people.owner.execute("RESET ROLE")


async def test_one_worker_clears_all_and_the_others_wait_for_their_turn(people: People, telemetry_db: str) -> None:
    """C11: two at once, or nobody."""
    for number in range(25):
        _bucket(people, f"b{number}", 2 * DAY)
    workers = [Cleanup(dsn=people.dsn, at_once=10) for _ in range(3)]
    async with await AsyncConnection.connect(telemetry_db) as telemetry:
        first = await asyncio.gather(*(worker.step(telemetry, NOW) for worker in workers))
        assert sorted(first) == [False, False, True]
        busy = workers[first.index(True)]
        assert [await busy.step(telemetry, NOW) for _ in range(3)] == [True, False, False]
        _bucket(people, "later", 2 * DAY)
        assert [await worker.step(telemetry, NOW + 9 * MINUTE) for worker in workers] == [False] * 3
        await workers[0].step(telemetry, NOW + 11 * MINUTE)

    assert _left(people, "SELECT bucket FROM rate_buckets") == []


async def test_a_clock_that_is_ahead_ends_no_session(people: People, telemetry_db: str) -> None:
    live = _token(people, ADA, HOUR)
    async with await AsyncConnection.connect(telemetry_db) as telemetry:
        await Cleanup(dsn=people.dsn).step(telemetry, NOW + 400 * DAY)

    assert _left(people, "SELECT session_id FROM sessions") == [live]
