"""The schema tool on real servers: onto nothing, onto itself, from several sides at once, onto what is foreign."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloud.schema import catalog
from cloud.schema.apply import apply
from cloud.schema.check import check
from cloud.schema.errors import DATABASES, Database, ScriptError, UnreachableError, VersionError
from cloud.schema.loader import SQL_ROOT, load
from cloud.schema.status import status
from local.servers import PostgresServer

MASTER = {"domain": "init-db.sql", "telemetry": "init-timescale.sql"}
_KNOWN = load("domain").version


def fingerprint(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        return catalog.fingerprint(catalog.read(connection))


def psql(server: PostgresServer, dsn: str, master: Path) -> subprocess.CompletedProcess[str]:
    command = [str(server.installation.program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(master), dsn]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("database", DATABASES)
def test_applied_twice_a_schema_has_the_same_fingerprint(empty_db: str, database: Database) -> None:
    first = apply(empty_db, database)
    before = fingerprint(empty_db)
    second = apply(empty_db, database)
    third = apply(empty_db, database, again=True)

    version = load(database).version
    assert (first.before, first.after, second.before) == (None, version, version)
    assert (first.ran, second.ran, third.ran) == (True, False, True)
    assert fingerprint(empty_db) == before


@pytest.mark.parametrize("database", DATABASES)
def test_psql_alone_applies_a_master_any_number_of_times_and_gives_what_the_tool_gives(
    pg_server: PostgresServer, empty_db: str, database: Database
) -> None:
    """D17: the first boot must not depend on the tool, nor end in the middle."""
    for _ in range(2):
        done = psql(pg_server, empty_db, SQL_ROOT / MASTER[database])
        assert (done.returncode, done.stderr) == (0, "")

    version = load(database).version
    assert status(empty_db, database).version == version
    assert not check(empty_db, database).differences
    assert apply(empty_db, database).before == version
    assert status(empty_db, database).current


@pytest.mark.parametrize("database", DATABASES)
def test_applies_at_the_same_instant_wait_for_each_other(empty_db: str, database: Database) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: apply(empty_db, database), range(4)))

    assert sorted(one.before or 0 for one in done) == [0, *[load(database).version] * 3]
    assert not check(empty_db, database).differences


def test_several_databases_of_a_new_cluster_are_applied_at_once_although_they_share_the_roles(tmp_path: Path) -> None:
    """D17: roles are the cluster's, and whoever comes second must find them, not fail."""
    server = PostgresServer(data_dir=tmp_path, settings={"fsync": "off"}, bound_to_parent=True)
    with server:
        names = [f"d{number}" for number in range(4)]
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for name in names:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with ThreadPoolExecutor(len(names)) as threads:
            done = list(threads.map(lambda name: apply(server.dsn(name), "domain"), names))

    assert [one.before for one in done] == [None] * 4


@pytest.mark.parametrize("database", DATABASES)
def test_a_failure_in_the_middle_leaves_an_empty_database(
    pg_server: PostgresServer, empty_db: str, tmp_path: Path, database: Database
) -> None:
    master = load(database)
    broken = tmp_path / "sql"
    for script in (*master.scripts, *(migration.script for migration in master.migrations)):
        (broken / script.name).parent.mkdir(parents=True, exist_ok=True)
        (broken / script.name).write_text(script.sql)
    (broken / "lockdown.sql").write_text("SELECT 1;\n\nSELEKT 2;\n")
    (broken / MASTER[database]).write_text((SQL_ROOT / MASTER[database]).read_text())
    if database == "domain":
        (broken / "migrations" / "domain").mkdir(parents=True, exist_ok=True)

    with pytest.raises(ScriptError, match=r"lockdown\.sql:3: syntax error") as refused:
        apply(empty_db, database, root=broken)
    assert refused.value.sqlstate == "42601"
    assert psql(pg_server, empty_db, broken / MASTER[database]).returncode != 0

    with psycopg.connect(empty_db) as connection:
        assert connection.execute("SELECT to_regclass('schema_version')").fetchone() == (None,)


def test_a_database_with_a_newer_schema_is_left_alone(domain_db: str) -> None:
    with psycopg.connect(domain_db) as connection:
        connection.execute("INSERT INTO schema_version (version, master) VALUES (99, 'domain')")

    with pytest.raises(VersionError, match=f"version 99, this release knows {_KNOWN}"):
        apply(domain_db, "domain")


@pytest.mark.parametrize(
    ("version", "says"), [(99, f"newer than this master's {_KNOWN}"), (0, "segs-cloud schema apply")]
)
def test_psql_refuses_a_database_of_another_version_and_says_what_to_do(
    pg_server: PostgresServer, domain_db: str, version: int, says: str
) -> None:
    """D17: CREATE IF NOT EXISTS passes over tables that are there, so the master must not even begin."""
    with psycopg.connect(domain_db) as connection:
        connection.execute("ALTER TABLE schema_version DROP CONSTRAINT schema_version_version_check")
        connection.execute("UPDATE schema_version SET version = %s", [version])

    refused = psql(pg_server, domain_db, SQL_ROOT / "init-db.sql")

    assert refused.returncode == 3
    assert says in refused.stderr


def test_a_master_is_refused_by_the_other_database(pg_server: PostgresServer, telemetry_db: str) -> None:
    with pytest.raises(VersionError, match=r"holds the telemetry schema.*swapped\?"):
        apply(telemetry_db, "domain")

    refused = psql(pg_server, telemetry_db, SQL_ROOT / "init-db.sql")
    assert refused.returncode == 3
    assert "holds the telemetry schema, this is the domain master" in refused.stderr


def test_a_database_of_something_else_is_refused(empty_db: str) -> None:
    with psycopg.connect(empty_db) as connection:
        connection.execute("CREATE TABLE orders (id integer)")

    with pytest.raises(ScriptError, match=r"orders.*not a SEGS database"):
        apply(empty_db, "domain")


def test_an_unreachable_database_is_named_as_such(empty_db: str) -> None:
    with pytest.raises(UnreachableError, match="no connection"):
        apply(make_conninfo(empty_db, dbname="nowhere"), "domain")


def test_an_owner_who_is_no_superuser_applies_and_checks_the_domain(pg_server: PostgresServer, empty_db: str) -> None:
    """As at a provider, where nobody is."""
    name = str(conninfo_to_dict(empty_db)["dbname"])
    with psycopg.connect(empty_db, autocommit=True) as connection:
        connection.execute(
            "DO $$ BEGIN IF to_regrole('landlord') IS NULL THEN"
            " CREATE ROLE landlord LOGIN CREATEDB CREATEROLE; END IF; END $$"
        )
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO landlord").format(sql.Identifier(name)))
    landlord = pg_server.dsn(name, "landlord")

    assert apply(landlord, "domain").after == _KNOWN
    assert not check(landlord, "domain").differences


def test_what_psql_ran_over_an_applied_master_is_compared_by_the_next_apply(
    pg_server: PostgresServer, domain_db: str
) -> None:
    psql(pg_server, domain_db, SQL_ROOT / "init-db.sql")

    assert not status(domain_db, "domain").current
    assert apply(domain_db, "domain").ran
    assert status(domain_db, "domain").current


def test_a_database_that_is_current_is_applied_without_waiting_for_its_tables(telemetry_db: str) -> None:
    """Every start of a service may apply, while others are at work."""
    with psycopg.connect(telemetry_db) as busy:
        busy.execute("LOCK TABLE raw_readings, ingest_batches IN ROW EXCLUSIVE MODE")

        assert not apply(telemetry_db, "telemetry").ran


def test_an_apply_that_meets_a_running_service_in_a_deadlock_tries_again(telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db) as service, ThreadPoolExecutor(1) as thread:
        service.execute("SET LOCAL deadlock_timeout = '1h'")  # so that it is the apply that gives way
        service.execute("LOCK TABLE ingest_batches IN ROW EXCLUSIVE MODE")
        applied = thread.submit(apply, telemetry_db, "telemetry", again=True)
        with psycopg.connect(telemetry_db, autocommit=True) as watcher:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ingest_batches'::regclass"
            while watcher.execute(waiting).fetchone() != (1,):
                assert not applied.done()
        service.execute("LOCK TABLE raw_readings IN ROW EXCLUSIVE MODE")
        service.commit()

        assert applied.result(timeout=30).ran
