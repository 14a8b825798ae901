"""Whoever remembers what somebody may read is told when that changes, by whatever way, and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.sql.people import ADA, BOB, NOW, ROOT, People

JTI = "00000000-0000-0000-0000-000000000001"
ALL = ""
# How a right comes and goes, and whom that is told of.
CHANGES: list[tuple[LiteralString, set[object]]] = [
    (
        "SELECT session_end(family_id, gen_random_uuid(), now() + INTERVAL '1 h', now())"
        " FROM sessions WHERE user_id = 1",
        {ADA},
    ),
    ("SELECT sessions_end(now())", {ADA}),
    ("SELECT session_revoke(family_id, now()) FROM sessions WHERE user_id = 1", {ADA}),
    ("SELECT sessions_revoke_others(1, gen_random_uuid(), 'password_changed', now())", {ADA}),
    ("SELECT password_replace(2, '$argon2id$x', NULL, now())", {BOB}),
    ("SELECT user_suspend(2, now())", {BOB}),
    ("UPDATE users SET suspended_at = now() WHERE user_id = 2", {BOB}),
    ("UPDATE users SET suspended_at = NULL WHERE user_id = 6", {6}),
    ("SELECT user_role_set(2, 'OPERATOR', now())", {BOB}),
    ("UPDATE users SET tokens_valid_from = now() WHERE user_id IN (1, 2)", {ADA, BOB}),
    ("SELECT account_delete(1, now())", {ADA}),
    ("UPDATE sessions SET expires_at = now() WHERE user_id = 2", {BOB}),
    ("UPDATE sessions SET user_id = 2 WHERE user_id = 1", {ADA, BOB}),
    ("DELETE FROM sessions WHERE user_id = 2", {BOB}),
    ("INSERT INTO token_blacklist VALUES (gen_random_uuid(), 2, 'logout', now(), now() + INTERVAL '1 h')", {BOB}),
    ("SELECT meter_give('MTR-00000001', 2, now(), now())", {ADA, BOB}),
    ("SELECT meter_give('MTR-00000001', NULL, now(), now())", {ADA}),
    ("UPDATE meter_owners SET user_id = 2 WHERE meter_id = 1", {ADA, BOB}),
    ("UPDATE meter_owners SET meter_id = 4 WHERE meter_id = 1", {ADA}),
    ("UPDATE meter_owners SET valid = '[-infinity, 2026-02-01Z)' WHERE meter_id = 1", {ADA}),
    ("DELETE FROM meter_owners WHERE meter_id = 1", {ADA}),
    ("DELETE FROM meters WHERE meter_id = 4", {ALL}),
    ("TRUNCATE meter_owners", {ALL}),
    (
        "INSERT INTO meter_owners (meter_id, user_id, valid)"
        " SELECT m, 2 + m % 101, '[2026-01-01Z, infinity)' FROM spare AS s (m)",
        {ALL},
    ),
    ("UPDATE users SET suspended_at = now() WHERE user_id > 6", {ALL}),
]
QUIET: list[LiteralString] = [
    "INSERT INTO sessions (user_id, token_hash, created_at, expires_at)"
    " VALUES (1, sha256('n'), now(), now() + INTERVAL '1 h')",
    "SELECT session_rotate(sha256('1'), sha256('next'), NULL, NULL, INTERVAL '30 days', INTERVAL '30 s', now())",
    "UPDATE users SET name = 'Ada L.', phone = '+4930123456', password_hash = '$argon2id$y' WHERE user_id = 1",
    "UPDATE users SET role = 'USER' WHERE user_id = 1",
    "UPDATE meter_owners SET updated_at = now()",
    "UPDATE meters SET status = 'inactive'",
    "INSERT INTO meters (model) SELECT 'sdm630' FROM generate_series(1, 1000)",
    "INSERT INTO users (email, name) VALUES ('new@example.org', 'New')",
    "UPDATE meter_owners SET valid = '[-infinity, 2026-02-01Z)' WHERE false",
    "DELETE FROM token_blacklist",
]


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    found.owner.execute("INSERT INTO meters DEFAULT VALUES")
    found.owner.execute(
        "INSERT INTO users (email, name) SELECT n || '@example.org', 'N' FROM generate_series(1, 200) AS n"
    )
    found.owner.execute(
        "CREATE TEMP TABLE spare AS WITH made AS ("
        "INSERT INTO meters (model) SELECT 'x' FROM generate_series(1, 300) RETURNING meter_id) SELECT * FROM made"
    )
    with found.owner:
        yield found


def told(people: People, statement: LiteralString) -> list[object]:
    """Payloads of one transaction of Ada's, numbers where they are some."""
    with psycopg.connect(people.dsn, autocommit=True) as listening:
        listening.execute("LISTEN segs_access")
        with people.owner.transaction():
            people.owner.execute("SELECT set_config('segs.user_id', '1', true)")
            people.owner.execute(statement)
        payloads = [notification.payload for notification in listening.notifies(timeout=0.2)]
    return [int(payload) if payload else ALL for payload in payloads]


@pytest.mark.parametrize(("statement", "whom"), CHANGES)
def test_a_right_that_comes_or_goes_is_told_once_of_whom(
    people: People, statement: LiteralString, whom: set[object]
) -> None:
    """D11, D12."""
    found = told(people, statement)
    assert len(found) == len(whom)
    assert set(found) == whom


@pytest.mark.parametrize("statement", QUIET)
def test_what_takes_nothing_from_anybody_is_not_told(people: People, statement: LiteralString) -> None:
    assert told(people, statement) == []


def test_an_expired_token_that_comes_again_ends_its_session_and_is_told(people: People) -> None:
    rotate = "SELECT session_rotate(sha256('1'), sha256('next'), NULL, NULL, INTERVAL '30 days', INTERVAL '30 s', {})"
    assert told(people, rotate.format("now()")) == []  # type: ignore[arg-type]
    assert told(people, rotate.format("now() + INTERVAL '1 h'")) == [ADA]  # type: ignore[arg-type]


def test_whoever_may_change_a_row_may_have_it_told(people: People) -> None:
    """The services' roles have no right to the functions."""
    people.owner.execute("SET ROLE segs_worker")
    gone = told(people, "DELETE FROM sessions WHERE expires_at > now() - INTERVAL '100 years'")
    assert sorted(map(str, gone)) == list("123456")


# What identifies rows, and rotated_at, which never stands alone: the next token is there in the same transaction.
_KEYS = {
    "users": {"user_id"},
    "sessions": {"user_id", "rotated_at"},
    "token_blacklist": set(),
    "meter_owners": {"user_id"},
    "meters": {"meter_id", "meter_code"},
}


def _declared(people: People) -> dict[str, set[str]]:
    """Columns by table that the triggers on updates name."""
    rows = people.owner.execute(
        "SELECT t.tgrelid::regclass::text AS name, encode(t.tgargs, 'escape') AS arguments FROM pg_trigger AS t"
        " WHERE t.tgfoid = 'access_changed'::regproc AND t.tgtype & 16 <> 0"
    ).fetchall()
    found = {row["name"]: set(filter(None, row["arguments"].split("\\000"))) for row in rows}
    return {table: keys | found.get(table, set()) for table, keys in _KEYS.items()}


def _reads(people: People, columns: dict[str, set[str]]) -> bool:
    """Whether both functions get by with the right to these columns and to nothing else."""
    session = people.owner.execute("SELECT family_id FROM sessions WHERE user_id = %s", [ADA]).fetchone()
    assert session is not None
    try:
        with people.owner.transaction(force_rollback=True):
            people.owner.execute("CREATE ROLE segs_test_reader BYPASSRLS")
            for table, names in columns.items():
                if names:
                    people.owner.execute(
                        sql.SQL("GRANT SELECT ({}) ON {} TO segs_test_reader").format(
                            sql.SQL(", ").join(map(sql.Identifier, sorted(names))), sql.Identifier(table)
                        )
                    )
            for function in ("readable_meters", "session_role"):
                people.owner.execute(
                    sql.SQL("GRANT EXECUTE ON FUNCTION {} TO segs_test_reader").format(sql.Identifier(function))
                )
            people.owner.execute("GRANT USAGE, CREATE ON SCHEMA public TO segs_test_reader")
            people.owner.execute("ALTER FUNCTION readable_meters OWNER TO segs_test_reader")
            # By way of everything that a rule may say: who is found, and who is not.
            for user_id in (ADA, BOB, ROOT):
                row = people.owner.execute(
                    "SELECT * FROM readable_meters(%s, %s, %s, %s, %s)",
                    [user_id, session["family_id"], JTI, NOW, ["MTR-00000001"]],
                ).fetchone()
                assert row is not None
                assert (row["role"] == "USER") == (user_id == ADA)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def test_the_rule_reads_what_is_told_of_and_nothing_else(people: People) -> None:
    """Who has it read another column, or another table, has to tell of that too."""
    declared = _declared(people)
    assert _reads(people, declared)
    for table, names in declared.items():
        for name in names:
            assert not _reads(people, declared | {table: names - {name}}), f"{table}.{name} is not read"
