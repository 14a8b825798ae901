"""D13: whatever is done to the audit log, by whomever, is noticed, and its place is named."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from cloud.audit.chain import Row, packed_hash
from cloud.audit.verify import read_heads, verify
from cloud.schema.apply import apply
from cloud.schema.connection import connect, run
from cloud.schema.loader import Script
from tests.sql.audit import RENAME, Log
from tests.sql.test_schema_migrations import BASELINE


@pytest.fixture
def log(domain_db: str) -> Iterator[Log]:
    found = Log(domain_db)
    with found.connection:
        yield found


def rehash(log: Log, audit_id: int) -> None:
    """Gives a row the hash that would fit, as somebody would who knows how."""
    with log.tampering() as superuser:
        rows = superuser.execute(
            "SELECT b.audit_id, b.block, b.position, b.hash, array[b.form::text, b.audit_id::text,"
            " (extract(epoch FROM b.occurred_at) * 1000000)::bigint::text, b.actor, b.database_role, b.request_id,"
            " b.action, b.table_name, b.row_key, b.old::text, b.new::text, b.subjects::text, b.meters::text,"
            " b.transaction_id::text, b.block::text, b.position::text]"
            " FROM audit_logs b JOIN audit_logs a USING (block)"
            " WHERE a.audit_id = %s AND b.audit_id <= a.audit_id ORDER BY b.position DESC, b.audit_id DESC LIMIT 2",
            [audit_id],
        ).fetchall()
        row, *before = (Row(*one) for one in rows)
        previous = before[0].hash if before else bytes(32)
        superuser.execute(
            "UPDATE audit_logs SET hash = %s WHERE audit_id = %s", [packed_hash(previous, row.fields), audit_id]
        )


def test_a_log_that_nobody_touched_is_whole(log: Log) -> None:
    """Transactions of one row and of many, texts of every kind, savepoints and transactions that were taken back."""
    log.change(3)
    log.do("UPDATE users SET name = %s", 'Nørd "1" \\ \' , 🦊\n\t')
    with log.connection.transaction():
        log.change(2)
        with log.connection.transaction(force_rollback=True):
            log.change(2)
        log.change(1)
    with log.connection.transaction(force_rollback=True):
        log.change(2)
    with log.connection.transaction():
        with log.connection.transaction(force_rollback=True):
            log.change(1)
        log.change(1)

    verdict = log.verify()

    assert verdict.fault is None
    assert (verdict.rows, verdict.links) == (10, 5)
    assert log.rows("SELECT position FROM audit_logs ORDER BY audit_id DESC LIMIT 4") == [(1,), (3,), (2,), (1,)]


def test_an_empty_log_is_whole(domain_db: str) -> None:
    with psycopg.connect(domain_db, autocommit=True) as connection:
        assert verify(connection).fault is None
        assert {(head.link_id, head.hash) for head in read_heads(connection)} == {(0, bytes(32))}


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'user:1'",
        "database_role = 'segs_api'",
        "request_id = 'r-1'",
        "occurred_at = occurred_at - INTERVAL '1 microsecond'",
        "table_name = 'meters'",
        "row_key = 'south'",
        "new = new || '{\"name\": 1}'",
        "old = old - 'name'",
        "old = NULL, action = 'INSERT'",
        "subjects = '{1}', action = 'READ', old = NULL",
        "transaction_id = '1'",
        "hash = sha256('x')",
    ],
)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_row_that_was_altered_is_named(log: Log, change: str, which: int) -> None:
    log.change(2)
    row = log.change(3)[which]
    log.change(2)

    log.tamper(f"UPDATE audit_logs SET {change} WHERE audit_id = %s", row)

    assert log.fault() == ("altered", row)


def test_the_first_of_several_faults_is_named(log: Log) -> None:
    first, second = log.change(), log.change(2)

    log.tamper("UPDATE audit_logs SET actor = 'user:1' WHERE audit_id = ANY (%s)", [first[0], second[1]])

    assert log.fault() == ("altered", first[0])


def test_a_row_that_was_altered_with_its_hash_gives_itself_away_by_the_next(log: Log) -> None:
    rows = log.change(3)
    log.tamper("UPDATE audit_logs SET actor = 'user:1' WHERE audit_id = %s", rows[0])
    rehash(log, rows[0])

    assert log.fault() == ("altered", rows[1])


def test_a_last_row_that_was_altered_with_its_hash_gives_itself_away_by_the_link(log: Log) -> None:
    rows = log.change(3)
    log.tamper("UPDATE audit_logs SET actor = 'user:1' WHERE audit_id = %s", rows[2])
    rehash(log, rows[2])

    assert log.fault() == ("altered", rows[2])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_row_that_was_deleted_is_missed(log: Log, which: int) -> None:
    rows = log.change(3)
    log.change(2)

    log.tamper("DELETE FROM audit_logs WHERE audit_id = %s", rows[which])

    # Of a row that is gone, the neighbour is known: the one after it, or the last that is left.
    assert log.fault() == ("deleted", {0: rows[0], 1: rows[2], 2: rows[1]}[which])


def test_a_transaction_whose_rows_were_all_deleted_is_missed(log: Log) -> None:
    rows = log.change(3)
    log.change()

    log.tamper("DELETE FROM audit_logs WHERE block = %s", rows[0])

    assert log.fault() == ("deleted", rows[0])


def test_a_transaction_that_was_deleted_with_its_link_is_missed(log: Log) -> None:
    rows, after = log.change(3), log.change()

    log.tamper("DELETE FROM audit_logs WHERE block = %s", rows[0])
    log.tamper("DELETE FROM audit_links WHERE block = %s", rows[0])

    assert log.fault() == ("deleted", after[0])


def test_a_link_that_was_deleted_leaves_rows_that_nothing_vouches_for(log: Log) -> None:
    rows = log.change(3)
    log.change()

    log.tamper("DELETE FROM audit_links WHERE block = %s", rows[0])

    assert log.fault() == ("inserted", rows[0])


def forge(log: Log, model: int, audit_id: int, position: int) -> None:
    """A row that nobody wrote, like `model` and of its transaction, with the hash that is right for its place."""
    log.tamper(
        "INSERT INTO audit_logs OVERRIDING SYSTEM VALUE"
        " SELECT (jsonb_populate_record(a, jsonb_build_object('audit_id', %s::bigint, 'position', %s::integer,"
        " 'actor', 'user:1'))).* FROM audit_logs a WHERE audit_id = %s",
        *(audit_id, position, model),
    )
    rehash(log, audit_id)


def with_gap(log: Log) -> list[int]:
    """Three rows of one transaction; after the first a number is missing, as after a statement that failed."""
    with log.connection.transaction():
        first = log.change()
        log.do("SELECT nextval(pg_get_serial_sequence('audit_logs', 'audit_id'))")
        return sorted({*first, *log.change(2)})


@pytest.mark.parametrize("where", [1, 3])
def test_a_row_that_was_inserted_into_a_transaction_is_named(log: Log, where: int) -> None:
    """After its first row, with the second's position, or after all of them."""
    rows = with_gap(log)
    log.do("SELECT nextval(pg_get_serial_sequence('audit_logs', 'audit_id'))")
    log.change()

    forge(log, rows[where - 1], rows[where - 1] + 1, where + 1)

    assert log.fault() == ("inserted", rows[where - 1] + 1)


def test_a_transaction_that_was_inserted_past_the_trigger_is_named(log: Log) -> None:
    log.change()
    log.tamper(
        "INSERT INTO audit_logs (actor, database_role, action, table_name, row_key, new, form, transaction_id, block,"
        " position, hash) VALUES ('user:1', 'segs_api', 'INSERT', 'meters', '1', '{}', 1, '7', 4, 1, sha256('x'))"
    )
    log.change()

    assert log.fault() == ("inserted", 4)


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2), (1, 3), (2, 4)])
def test_rows_that_changed_places_are_named(log: Log, pair: tuple[int, int]) -> None:
    """Within a transaction, and from one to another."""
    rows = [*log.change(3), *log.change(2)]
    one, other = (rows[index] for index in pair)
    keys = "audit_id, block, position, transaction_id"

    with log.tampering() as superuser:
        superuser.execute("ALTER TABLE audit_logs ALTER audit_id DROP IDENTITY")
        places = {
            row[0]: row
            for row in superuser.execute(f"SELECT {keys} FROM audit_logs WHERE audit_id IN ({one}, {other})")
        }
        for old, new in ((one, (-1, *places[other][1:])), (other, places[one]), (-1, places[other])):
            superuser.execute(f"UPDATE audit_logs SET ({keys}) = ROW (%s, %s, %s, %s) WHERE audit_id = %s", [*new, old])

    assert log.fault() == ("reordered", one)


def test_links_that_changed_places_are_named(log: Log) -> None:
    first, second = log.change(), log.change()

    with log.tampering() as superuser:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            superuser.execute("UPDATE audit_links SET link_id = %s WHERE link_id = %s", [new, old])

    assert log.fault()[1] in (*first, *second)


@pytest.mark.parametrize(
    "change",
    [
        "rows = 2",
        "rows_digest = sha256('x')",
        "linked_at = now()",
        "hash = sha256('x')",
        "previous_digest = sha256('x')",
    ],
)
def test_a_link_that_was_altered_is_named_by_its_transaction(log: Log, change: str) -> None:
    rows = log.change()
    log.change()

    log.tamper(f"UPDATE audit_links SET {change} WHERE block = %s", rows[0])

    assert log.fault()[1] == rows[0]


def test_an_end_that_was_cut_off_is_noticed_by_the_head(log: Log) -> None:
    last, cut = log.change(), log.change()

    log.tamper("DELETE FROM audit_logs WHERE audit_id = ANY (%s)", cut)
    log.tamper("DELETE FROM audit_links WHERE block = ANY (%s)", cut)

    assert log.fault() == ("deleted", last[0])


def test_an_end_that_was_cut_off_with_its_head_is_noticed_by_what_was_exported(log: Log) -> None:
    last, cut = log.change(), log.change(2)
    exported = read_heads(log.connection)

    log.tamper("DELETE FROM audit_logs WHERE audit_id = ANY (%s)", cut)
    log.tamper("DELETE FROM audit_links WHERE block = ANY (%s)", cut)
    log.tamper(
        "UPDATE audit_heads h SET (link_id, hash) = (SELECT link_id, hash FROM audit_links WHERE lane = h.lane"
        " ORDER BY link_id DESC LIMIT 1) WHERE lane = 1"
    )

    assert log.verify().fault is None
    assert log.fault(exported) == ("deleted", last[0])


def test_a_log_that_was_written_anew_is_noticed_by_what_was_exported(log: Log) -> None:
    """Somebody who knows how recomputes all that comes after what they altered."""
    row = log.change()
    exported = read_heads(log.connection)
    with log.tampering() as superuser:
        superuser.execute("DELETE FROM audit_logs WHERE audit_id = ANY (%s)", [row])
        superuser.execute("DELETE FROM audit_links WHERE block = ANY (%s)", [row])
        superuser.execute(
            "UPDATE audit_heads h SET (link_id, hash) = (SELECT link_id, hash FROM audit_links WHERE lane = h.lane"
            " ORDER BY link_id DESC LIMIT 1) WHERE lane = 1"
        )
    instead = log.change()

    assert log.verify().fault is None
    assert log.fault(exported) == ("altered", instead[0])


def test_what_was_exported_stays_true_while_the_log_grows(log: Log) -> None:
    log.change()
    exported = read_heads(log.connection)
    log.change(2)

    assert log.verify(exported).fault is None


@pytest.mark.parametrize("first", [0, 1])
def test_transactions_may_commit_in_either_order(log: Log, first: int) -> None:
    log.user("bob")
    with psycopg.connect(log.dsn) as one, psycopg.connect(log.dsn) as other:
        for turn, (connection, name) in enumerate(((one, "ada"), (other, "bob"), (one, "ada"), (other, "bob"))):
            connection.execute(RENAME, [f"name {turn}", name])
        pair = (one, other)
        pair[first].commit()
        pair[1 - first].commit()

    verdict = log.verify()

    assert verdict.fault is None
    assert (verdict.rows, verdict.links) == (8, 4)


def test_many_at_once_leave_one_whole_chain_and_use_lanes_of_their_own(log: Log) -> None:
    log.do("INSERT INTO users (email, name) SELECT n || '@example.org', 'A' FROM generate_series(0, 11) AS n")

    def work(user: int) -> None:
        with psycopg.connect(log.dsn, autocommit=True) as connection:
            for turn in range(40):
                with connection.transaction(force_rollback=turn % 4 == 0):
                    for step in range(turn % 5 + 1):
                        connection.execute(RENAME, [f"{turn} {step}", str(user)])

    threads = [threading.Thread(target=work, args=[user]) for user in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    verdict = log.verify()
    assert verdict.fault is None
    kept = [turn for turn in range(40) if turn % 4]
    assert verdict.links == 2 + 12 * len(kept)
    assert verdict.rows == 2 * (1 + 12) + 12 * sum(turn % 5 + 1 for turn in kept)
    assert len([head for head in verdict.heads if head.link_id]) > 1


def test_a_transaction_that_stays_open_holds_up_no_other(log: Log) -> None:
    log.user("bob")
    log.do("SET statement_timeout = '2s'")
    with psycopg.connect(log.dsn) as long:
        long.execute(RENAME, ["B", "bob"])
        log.change()
        # Not even one that has its place in the chain already, and does not end.
        long.execute("SET CONSTRAINTS ALL IMMEDIATE")
        log.change()

    verdict = log.verify()
    assert verdict.fault is None
    assert [head.link_id for head in verdict.heads][:2] == [4, 1]


def test_what_is_logged_after_the_transaction_was_linked_is_linked_too(log: Log) -> None:
    with log.connection.transaction():
        log.do("UPDATE users SET name = 'one'")
        log.do("SET CONSTRAINTS ALL IMMEDIATE")
        log.do("UPDATE users SET name = 'two'")
        log.do("SET CONSTRAINTS ALL DEFERRED")
        log.do("UPDATE users SET name = 'three'")
        log.do("UPDATE users SET name = 'four'")

    verdict = log.verify()

    assert verdict.fault is None
    assert (verdict.rows, verdict.links) == (6, 4)


def test_a_transaction_that_sees_an_old_head_fails_rather_than_fork_the_chain(log: Log) -> None:
    log.user("bob")
    with psycopg.connect(log.dsn) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute(RENAME, ["B", "bob"])
        log.change()
        with pytest.raises(psycopg.errors.SerializationFailure):
            old.commit()

    assert log.verify().fault is None
    assert log.rows("SELECT name FROM users WHERE email = 'bob@example.org'") == [("A",)]


@pytest.mark.parametrize("table", ["audit_links", "audit_logs"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET hash = sha256('x')", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_the_owner_changes_the_chain(log: Log, table: str, statement: str) -> None:
    with pytest.raises(psycopg.Error, match=f"{table} is append-only"):
        log.do(statement.format(table))


@pytest.mark.parametrize("table", ["audit_links", "audit_heads", "audit_logs"])
@pytest.mark.parametrize("role", ["segs_api", "segs_worker", "segs_readonly", "segs_ingest"])
def test_no_service_has_a_hand_on_the_chain(log: Log, role: str, table: str) -> None:
    may = log.rows(
        "SELECT right_ FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS right_"
        " WHERE has_table_privilege(%s, %s, right_)",
        *(role, table),
    )
    assert may == []


def test_the_time_of_a_row_is_the_databases(log: Log) -> None:
    """Whoever may insert at all cannot say that it was earlier."""
    log.do(
        "INSERT INTO audit_logs (occurred_at, actor, database_role, action, table_name, row_key, new)"
        " VALUES ('2020-01-01', 'user:1', 'x', 'INSERT', 'x', 'x', '{}')"
    )

    assert log.verify().fault is None
    assert log.rows("SELECT count(*) FROM audit_logs WHERE occurred_at < '2021-01-01'") == [(0,)]


def test_what_was_logged_before_there_was_a_chain_is_chained_by_the_migration(empty_db: str) -> None:
    with connect(empty_db) as connection:
        run(connection, [Script("domain-1.sql", (BASELINE / "domain-1.sql").read_text())])
        connection.execute(
            "INSERT INTO users (email, name) SELECT n || '@example.org', 'A' FROM generate_series(1, 1100) AS n"
        )
        connection.execute("UPDATE users SET name = 'B' WHERE email = '7@example.org'")

    apply(empty_db, "domain")

    log = Log(empty_db)
    with log.connection:
        verdict = log.verify()
        assert verdict.fault is None
        assert (verdict.rows, verdict.links) == (2 * 1100 + 1 + 2, 4)
        log.tamper("UPDATE audit_logs SET actor = 'user:1' WHERE audit_id = 1500")
        assert log.fault() == ("altered", 1500)
