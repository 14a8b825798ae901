"""Names and addresses of people who leave go out of the audit log, and the chain stays whole."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud.audit.verify import verify
from cloud.db.errors import ImmutableError, domain_error
from tests.sql.audit import Log
from tests.sql.people import ADA, BOB, OPS, ROOT, People

ALL_OF_IT = (
    "SELECT string_agg(row, ' ') AS texts"
    " FROM (SELECT a::text AS row FROM audit_logs a UNION ALL SELECT p::text FROM audit_personal p) AS t"
)


@pytest.fixture
def log(domain_db: str) -> Iterator[Log]:
    found = Log(domain_db)
    with found.connection:
        yield found


@pytest.fixture
def people(people_db: str) -> Iterator[People]:
    found = People(people_db)
    with found.owner:
        yield found


def everything(people: People) -> str:
    row = people.owner.execute(ALL_OF_IT).fetchone()
    assert row is not None
    return str(row["texts"])


def told(people: People, user_id: int, caller: int = ROOT) -> list[object]:
    rows = people.ask(
        caller,
        "SELECT audit_told(old) AS old, audit_told(new) AS new FROM audit_logs"
        " WHERE table_name = 'users' AND row_key = %s ORDER BY audit_id",
        str(user_id),
    )
    return [[side and (side["email"], side["name"]) for side in (row["old"], row["new"])] for row in rows]


def leave(people: People, user_id: int) -> None:
    people.ask(user_id, "SELECT account_delete(%s, now())", user_id)


def test_the_log_tells_admins_what_it_has_digests_of(people: People) -> None:
    people.owner.execute("UPDATE users SET name = 'Ada L.', phone = '+4930123456' WHERE user_id = %s", [ADA])

    assert told(people, ADA) == [
        [None, ("ada@example.org", "Ada")],
        [("ada@example.org", "Ada"), ("ada@example.org", "Ada L.")],
    ]
    rows = people.owner.execute("SELECT string_agg(a::text, ' ') AS log FROM audit_logs a").fetchone()
    assert rows is not None
    for value in ("ada@example.org", "Ada", "+4930123456"):
        assert value not in rows["log"]


def test_who_leaves_is_named_nowhere_in_the_log_and_the_chain_is_whole(people: People) -> None:
    people.owner.execute("UPDATE users SET name = 'Ada L.', phone = '+4930123456' WHERE user_id = %s", [ADA])

    leave(people, ADA)

    for value in ("ada@example.org", "Ada", "+4930123456"):
        assert value not in everything(people)
    assert "bob@example.org" in everything(people)
    erased = ("[erased]", "[erased]")
    assert told(people, ADA) == [[None, erased], [erased, erased], [erased, erased], [erased, (None, None)]]
    with psycopg.connect(people.dsn, autocommit=True) as connection:
        assert verify(connection).fault is None


def test_an_erased_value_is_not_found_by_trying(people: People) -> None:
    """What two people have in common has two digests, and neither is that of the bare value."""
    people.owner.execute("UPDATE users SET name = 'Same' WHERE user_id = ANY (%s)", [[ADA, BOB]])
    found = people.owner.execute(
        "SELECT DISTINCT new -> 'name' ->> 'digest' AS digest, encode(sha256('Same'), 'hex') AS bare FROM audit_logs"
        " WHERE table_name = 'users' AND action = 'UPDATE'"
    ).fetchall()

    assert len(found) == 2
    assert all(row["digest"] != row["bare"] for row in found)


def test_a_value_that_stays_has_one_digest_so_that_the_log_says_what_changed(people: People) -> None:
    people.owner.execute("UPDATE users SET name = 'Ada L.' WHERE user_id = %s", [ADA])
    leave(people, ADA)

    row = people.owner.execute(
        "SELECT old -> 'email' = new -> 'email' AS email, old -> 'name' = new -> 'name' AS name FROM audit_logs"
        " WHERE table_name = 'users' AND action = 'UPDATE' ORDER BY audit_id LIMIT 1"
    ).fetchone()
    assert row == {"email": True, "name": False}


@pytest.mark.parametrize("caller", [ADA, OPS, None])
def test_nobody_but_admins_reads_it(people: People, caller: int | None) -> None:
    assert people.ask(caller, "SELECT value FROM audit_personal") == []


def test_an_admin_reads_it_with_a_word_in_the_log_alone(people: People) -> None:
    with people.owner.transaction():
        people.owner.execute("SET LOCAL ROLE segs_api")
        people.owner.execute("SELECT set_config('segs.user_id', %s, true)", [str(ROOT)])
        assert people.owner.execute("SELECT value FROM audit_personal").fetchall() == []
    assert people.ask(ROOT, "SELECT value FROM audit_personal WHERE user_id = %s", ADA) != []


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM audit_personal", "UPDATE audit_personal SET value = 'x'", "TRUNCATE audit_personal"],
)
def test_not_even_the_owner_forgets_who_has_not_left(log: Log, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        log.do(statement)
    assert isinstance(domain_error(refused.value), ImmutableError)


@pytest.mark.parametrize("role", ["segs_api", "segs_worker", "segs_readonly", "segs_ingest"])
def test_no_service_has_a_hand_on_it(log: Log, role: str) -> None:
    may = log.rows(
        "SELECT right_ FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS right_"
        " WHERE has_table_privilege(%s, 'audit_personal', right_)",
        role,
    )
    assert may == []


def test_a_value_that_was_altered_is_noticed(log: Log) -> None:
    log.change(2)
    log.tamper("ALTER TABLE audit_personal DROP CONSTRAINT audit_personal_digest_is_of_value")
    log.tamper("UPDATE audit_personal SET value = 'mallory@example.org' WHERE value = 'ada@example.org'")

    assert log.fault() == ("altered", None)


def test_a_value_that_was_altered_with_its_digest_is_noticed(log: Log) -> None:
    log.change(2)
    log.tamper(
        "UPDATE audit_personal SET value = 'Eve', digest = encode(sha256(salt || 'Eve'), 'hex') WHERE value = 'A'"
    )

    assert log.fault() == ("deleted", 1)


def test_a_value_that_was_deleted_before_its_user_left_is_noticed(log: Log) -> None:
    [row] = log.change()
    log.user("bob")
    log.tamper("DELETE FROM audit_personal WHERE value LIKE 'Ada %%'")

    assert log.fault() == ("deleted", row)


def test_a_user_who_is_only_said_to_have_left_has_not(log: Log) -> None:
    """The word of the log counts, and not that of the row."""
    log.change()
    log.tamper("UPDATE users SET deleted_at = now(), email = NULL, name = NULL WHERE email = 'ada@example.org'")
    log.tamper("DELETE FROM audit_personal")

    assert log.fault()[0] == "deleted"
