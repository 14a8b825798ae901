"""A database that moves from one edition of TimescaleDB to the other, in place or by a dump."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from cloud.schema.apply import apply
from cloud.schema.check import check
from cloud.schema.connection import connect, run
from cloud.schema.errors import EditionError, ScriptError
from cloud.schema.loader import load
from cloud.schema.version import require_schema
from cloud.workers.runner import WorkerSettings
from cloud.workers.runner import run as work
from local.servers import PostgresServer

pytestmark = pytest.mark.community

COMPRESS = "SELECT compress_chunk(c) FROM show_chunks('{}', older_than => now() - INTERVAL '3 days') AS c"
TABLES = ("raw_readings", "aggregates_1m", "aggregates_15m")


@contextmanager
def _server(folder: Path, licence: str) -> Iterator[str]:
    settings = {"fsync": "off", "timescaledb.license": licence, "timescaledb.max_background_workers": "1"}
    with PostgresServer(data_dir=folder, settings=settings, bound_to_parent=True) as server:
        assert server.edition == ("apache" if licence == "apache" else "community")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'telemetry'").fetchone():
                connection.execute("CREATE DATABASE telemetry")
        yield server.dsn("telemetry")


def _differences(dsn: str) -> list[str]:
    return [str(difference) for difference in check(dsn, "telemetry").differences]


def _store(dsn: str) -> None:
    """A reading each minute of an hour, four days and an hour ago, one more reading now, all of it computed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic') ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO region_registry (region, capacity_w) VALUES ('n', 1e5) ON CONFLICT DO NOTHING")
        connection.execute(
            "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w,"
            " interval_ms) SELECT 1, 'd1', 1, 'MTR-00000001', 'n', 'UTC', 20000, 60000"
            " WHERE NOT EXISTS (SELECT FROM device_registry)"
        )
        connection.execute(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w, energy_import_wh)"
            " SELECT date_trunc('day', now()) - INTERVAL '4 days' + n * INTERVAL '1 minute', 1, 1, n, 10 * n"
            " FROM generate_series(0, 59) AS n ON CONFLICT (meter_id, time) DO NOTHING"
        )
        connection.execute("INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (now(), 1, 1, 5)")
        connection.execute(
            "SELECT mark_meters(1, ARRAY[1], min(time), max(time), now()) FROM raw_readings"
            " WHERE time > now() - INTERVAL '7 days'"
        )
        for queue in ("readings", "quarters"):
            connection.execute(f"SELECT aggregate_{queue}(p_early => true)".encode())


def _held(dsn: str) -> Any:
    """All that the tables and cagg_1m say, up to an hour ago."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return [
            connection.execute(
                f"SELECT * FROM {table} WHERE {time} < now() - INTERVAL '1 hour' ORDER BY {time}"
            ).fetchall()
            for table, time in (*((name, "bucket") for name in (*TABLES[1:], "cagg_1m")), ("raw_readings", "time"))
        ]


def _compress(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in TABLES[:2]:
            assert connection.execute(COMPRESS.format(table).encode()).fetchall() != []


def _mismatches(dsn: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as connection:
        query = "SELECT minutes > 0, mismatches FROM reconcile_minutes(now() - INTERVAL '5 days', now(), now())"
        return connection.execute(query).fetchone()


def test_a_database_goes_to_the_community_edition_and_back(tmp_path: Path) -> None:
    """Without its licence a continuous aggregate's trigger refuses every reading; it has to be taken away before."""
    held = None
    for licence in ("apache", "timescale", "apache"):
        with _server(tmp_path, licence) as dsn:
            apply(dsn, "telemetry", again=True)
            assert _differences(dsn) == [], licence
            assert held is None or _held(dsn) == held, licence
            _store(dsn)
            assert _mismatches(dsn) == (True, 0)
            held = _held(dsn)
            if licence == "timescale":
                _compress(dsn)
                with psycopg.connect(dsn, autocommit=True) as owner:
                    owner.execute("CALL refresh_continuous_aggregate('cagg_1m', now() - INTERVAL '5 days', now())")
                    assert _held(dsn) == held
                    assert owner.execute("SELECT leave_community()").fetchone() == (2,)


def test_a_server_that_became_apache_unprepared_goes_on_while_nothing_is_compressed(tmp_path: Path) -> None:
    """What it cannot take away does nothing, and is named."""
    with _server(tmp_path, "timescale") as dsn:
        apply(dsn, "telemetry")
    with _server(tmp_path, "apache") as dsn:
        apply(dsn, "telemetry", again=True)
        _store(dsn)
        assert _mismatches(dsn) == (True, 0)
        left = {line.split(": ")[2].split(" {")[0] for line in _differences(dsn)}
    assert {line.split(" every")[0] for line in left} == {
        "unexpected policy policy_retention",
        "unexpected policy policy_compression",
        "unexpected compression segmented by meter_id ordered by time",
        "unexpected compression segmented by meter_id ordered by bucket",
    }


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory: pytest.TempPathFactory, edition: str) -> Iterator[str]:
    """An Apache server on a database with compressed chunks."""
    if edition != "community":
        pytest.skip(f"needs TimescaleDB's Community edition, and this server has the {edition} edition")
    folder = tmp_path_factory.mktemp("unreadable")
    with _server(folder, "timescale") as dsn:
        apply(dsn, "telemetry")
        _store(dsn)
        _compress(dsn)
    with _server(folder, "apache") as dsn:
        yield dsn


REFUSED = r"compressed chunks \(1 of aggregates_1m, 1 of raw_readings\).*Apache edition.*Start it with the Community"


def test_the_schema_tool_refuses_compressed_chunks_on_apache_and_says_what_to_do(unreadable: str) -> None:
    """Their rows are missing from every answer, and nothing says so."""
    for again in (False, True):
        with pytest.raises(EditionError, match=REFUSED):
            apply(unreadable, "telemetry", again=again)
    with pytest.raises(EditionError, match=REFUSED):
        check(unreadable, "telemetry")


def test_the_master_refuses_them_under_plain_psql_too(unreadable: str) -> None:
    with pytest.raises(ScriptError, match=REFUSED), connect(unreadable) as connection:
        run(connection, load("telemetry").scripts)


@pytest.mark.parametrize("role", ["segs_ingest", "segs_worker"])
async def test_services_refuse_them(unreadable: str, role: str) -> None:
    async with await AsyncConnection.connect(unreadable) as connection:
        await connection.execute(f"SET ROLE {role}".encode())
        with pytest.raises(EditionError, match=REFUSED):
            await require_schema(connection, "telemetry")


async def test_a_worker_ends_over_them(unreadable: str) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await work(WorkerSettings(dsn=unreadable, domain_dsn=unreadable), stop=asyncio.Event())
    assert raised.group_contains(EditionError, match=REFUSED)


def test_a_worker_that_was_running_replaces_nothing_by_what_is_left(unreadable: str) -> None:
    """C7: the server may change while the worker waits for it."""
    with psycopg.connect(unreadable, autocommit=True) as worker:
        for work_of_it in (
            "aggregate_readings()",
            "aggregate_quarters()",
            "reconcile_minutes(now() - INTERVAL '1 day', now(), now())",
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="compressed chunks"):
                worker.execute(f"SELECT {work_of_it}".encode())


def test_a_dump_of_an_apache_server_is_restored_into_a_community_server(
    tmp_path: Path, pg_server: PostgresServer, empty_db: str
) -> None:
    with _server(tmp_path / "apache", "apache") as dsn:
        apply(dsn, "telemetry")
        _store(dsn)
        held = _held(dsn)
        _program(pg_server, "pg_dump", "--format=custom", f"--file={tmp_path}/dump", dsn)
    with psycopg.connect(empty_db, autocommit=True) as owner:
        owner.execute("CREATE EXTENSION timescaledb")
        owner.execute("SELECT timescaledb_pre_restore()")
        _program(pg_server, "pg_restore", "--no-privileges", f"--dbname={empty_db}", f"{tmp_path}/dump")
        owner.execute("SELECT timescaledb_post_restore()")
    apply(empty_db, "telemetry", again=True)
    assert _differences(empty_db) == []
    assert _held(empty_db) == held
    with psycopg.connect(empty_db, autocommit=True) as owner:
        owner.execute("CALL refresh_continuous_aggregate('cagg_1m', now() - INTERVAL '5 days', now())")
    _compress(empty_db)
    assert _held(empty_db) == held
    assert _mismatches(empty_db) == (True, 0)


def _program(server: PostgresServer, name: str, *arguments: str) -> None:
    command = [str(server.installation.program(name)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
