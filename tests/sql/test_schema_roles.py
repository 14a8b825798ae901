"""What each service role may do: what its service does, and nothing else."""

from collections.abc import Iterator

import psycopg
import pytest

from cloud.db.queries import Queries
from cloud.schema.errors import DATABASES

Rights = dict[str, set[str]]
WRITES = {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    with psycopg.connect(request.getfixturevalue(f"{request.param}_db"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def telemetry(telemetry_db: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        connection.execute("INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic')")
        yield connection


@pytest.fixture
def domain(domain_db: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(domain_db, autocommit=True) as connection:
        yield connection


def rights(connection: psycopg.Connection, role: str) -> Rights:
    """What `role` may do with tables and views, counting a right to single columns as one, `UPDATE(column)`."""
    found: Rights = {}
    statement = (
        "SELECT c.relname, g.privilege_type FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g"
        " WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = to_regrole(%(role)s)"
        " UNION ALL "
        "SELECT c.relname, g.privilege_type || '(' || a.attname || ')'"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN LATERAL aclexplode(a.attacl) g"
        " WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = to_regrole(%(role)s)"
    )
    for table, right in connection.execute(statement, {"role": role}):
        found.setdefault(table, set()).add(right)
    return found


def test_the_receiver_stores_readings_and_reads_the_registry_and_nothing_else(telemetry: psycopg.Connection) -> None:
    found = rights(telemetry, "segs_ingest")

    values = {right for right in found["raw_readings"] if right.startswith("UPDATE(")}
    assert values.isdisjoint({"UPDATE(time)", "UPDATE(meter_id)", "UPDATE(batch_id)", "UPDATE(flags)"})
    assert found.pop("raw_readings") - values == {"SELECT", "INSERT"}
    assert found == {
        "ingest_batches": {"SELECT", "INSERT", "UPDATE(stored)", "UPDATE(duplicates)", "UPDATE(quarantined)"},
        "quarantine": {"SELECT", "INSERT"},
        "gateway_notes": {"SELECT", "INSERT"},
        "gateway_reports": {"SELECT", "INSERT", "UPDATE"},
        "delivery_tallies": {"SELECT", "INSERT"},
        "dirty_meters": {"SELECT", "INSERT"},
        "gateway_registry": {"SELECT"},
        "device_registry": {"SELECT"},
        "region_registry": {"SELECT"},
        "registry_version": {"SELECT"},
        "schema_version": {"SELECT"},
    }


def test_the_receiver_has_no_business_in_the_domain(domain: psycopg.Connection) -> None:
    assert rights(domain, "segs_ingest") == {"schema_version": {"SELECT"}}


def test_a_reader_writes_nowhere(database: psycopg.Connection) -> None:
    for table, may in rights(database, "segs_readonly").items():
        assert {right.split("(")[0] for right in may} == {"SELECT"}, table


@pytest.mark.parametrize(
    "statement", ["INSERT INTO raw_readings (time, meter_id, batch_id) VALUES (now(), 1, 1)", "DELETE FROM quarantine"]
)
def test_a_reader_that_tries_is_refused(telemetry: psycopg.Connection, statement: str) -> None:
    telemetry.execute("SET ROLE segs_readonly")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        telemetry.execute(statement)


@pytest.mark.parametrize(
    "table",
    [
        *("otp_verifications", "token_blacklist", "password_proofs", "outbox", "rate_buckets"),
        *(
            "second_factors",
            "recovery_codes",
            "second_factor_roles",
            "login_networks",
            "idempotency_keys",
            "deliveries",
        ),
    ],
)
def test_codes_and_proofs_are_for_functions_alone(domain: psycopg.Connection, table: str) -> None:
    """D10."""
    assert table not in rights(domain, "segs_readonly")
    assert table not in rights(domain, "segs_api")


def test_no_service_reads_what_a_token_is_known_by(domain: psycopg.Connection) -> None:
    """D10."""
    secret = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE column_name ~ '(_hash|_secret|_token)$'"
    )
    readable = [
        (role, table, column)
        for role in ("segs_api", "segs_worker", "segs_readonly")
        for table, column in domain.execute(secret + " AND table_schema = 'public' AND table_name NOT LIKE 'gateway%'")
        if domain.execute("SELECT has_column_privilege(%s, %s, %s, 'SELECT')", [role, table, column]).fetchone()
        == (True,)
    ]
    # Who delivers a code needs it, and the key that it is sealed with.
    assert readable == [("segs_worker", "outbox", "sealed_secret")]


@pytest.mark.parametrize("role", ["segs_readonly", "segs_worker", "segs_api"])
def test_no_password_hash_is_read_by_a_service(domain: psycopg.Connection, role: str) -> None:
    assert domain.execute("SELECT has_column_privilege(%s, 'users', 'password_hash', 'SELECT')", [role]).fetchone() == (
        False,
    )
    assert domain.execute("SELECT has_column_privilege(%s, 'users', 'name', 'SELECT')", [role]).fetchone() == (True,)


def test_no_key_hash_is_shown_to_readers(domain: psycopg.Connection, telemetry: psycopg.Connection) -> None:
    for connection, table, column in (
        (domain, "gateway_keys", "key_hash"),
        (telemetry, "gateway_registry", "key_hashes"),
    ):
        may = connection.execute("SELECT has_column_privilege('segs_readonly', %s, %s, 'SELECT')", [table, column])
        assert may.fetchone() == (False,)


@pytest.mark.parametrize("table", ["invoices", "payment_transactions", "audit_logs", "users", "meters", "tariffs"])
def test_the_api_deletes_nothing_that_must_stay(domain: psycopg.Connection, table: str) -> None:
    """D1, D7, D9, D13."""
    assert not rights(domain, "segs_api")[table] & {"DELETE", "TRUNCATE"}


def test_the_api_cannot_rewrite_what_a_bill_says(domain: psycopg.Connection) -> None:
    """D1."""
    for role in ("segs_api", "segs_worker"):
        for table in ("invoices", "invoice_line_items", "payment_transactions", "ledger_entries", "credit_balances"):
            assert rights(domain, role)[table] == {"SELECT"}


def test_the_public_may_nothing_with_what_is_ours(database: psycopg.Connection) -> None:
    relations = database.execute(
        "SELECT c.relname FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g"
        " WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = 0"
        " AND NOT EXISTS (SELECT FROM pg_depend e"
        " WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
    ).fetchall()
    functions = database.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p"
        " CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g"
        " WHERE p.pronamespace = 'public'::regnamespace AND g.grantee = 0"
        " AND NOT EXISTS (SELECT FROM pg_depend e"
        " WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')"
    ).fetchall()
    schema = database.execute(
        "SELECT g.privilege_type FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) g"
        " WHERE n.nspname = 'public' AND g.grantee = 0"
    ).fetchall()
    assert (relations, functions, schema) == ([], [], [])


def test_no_service_role_is_more_than_a_login(database: psycopg.Connection) -> None:
    roles = database.execute(
        "SELECT rolname, rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
        " FROM pg_roles WHERE rolname LIKE 'segs\\_%' ORDER BY rolname"
    ).fetchall()
    assert roles == [(role, True, False) for role in ("segs_api", "segs_ingest", "segs_readonly", "segs_worker")]


def test_the_worker_can_do_the_whole_of_its_work(telemetry: psycopg.Connection) -> None:
    telemetry.execute("SET ROLE segs_worker")
    for call in (
        "SELECT aggregate_readings()",
        "SELECT aggregate_quarters()",
        "SELECT aggregate_regions()",
        "SELECT mark_silent_regions(now() - INTERVAL '1 hour', now())",
        f"BEGIN; {Queries('registry')['stage']} SELECT mark_moved(now()); COMMIT",
        "SELECT mark_ended_days(now())",
        "SELECT validate_intervals(10, now())",
        "SELECT estimate_silence(10, now())",
        "SELECT reconcile_minutes(now() - INTERVAL '1 hour', now(), now())",
        "SELECT create_chunks_ahead(now())",
        "SELECT drop_expired_chunks(10, now())",
        "SELECT claim_periodic_work('test', INTERVAL '1 second', now())",
        "UPDATE gateway_registry SET name = 'cellar'",
        "DELETE FROM device_registry",
    ):
        telemetry.execute(call)
