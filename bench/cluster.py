"""A durable database server for a benchmark, as in production, with databases that know every meter."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg import sql

from cloud.gateways.key import Key
from cloud.schema.apply import apply
from local.servers import PostgresServer

METERS_PER_REGION = 10_000


@contextmanager
def cluster(
    folder: Path,
    devices: Sequence[str],
    key: Key,
    *,
    cadence_s: float = 1.0,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[PostgresServer]:
    """A server with a template database: one gateway with `key`, whose `devices` are meters 1, 2, … at `cadence_s`.

    10,000 meters are a region. `settings` go over those of a server of the tests.
    """
    folder.chmod(0o755)
    server = PostgresServer(data_dir=folder / "pg", settings={"max_wal_size": "4GB", **settings}, bound_to_parent=True)
    with server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE template_bench TEMPLATE template0")
        apply(server.dsn("template_bench"), "telemetry")
        with psycopg.connect(server.dsn("template_bench")) as connection:
            connection.execute("INSERT INTO gateway_registry VALUES (1, 'bench', %s)", [[key.digest]])
            connection.execute(
                "INSERT INTO region_registry SELECT 'region-' || n, 1e9 FROM generate_series(0, %s) AS n",
                [len(devices) // METERS_PER_REGION],
            )
            # Two indexes that only keep the registry right take minutes to fill with a million devices.
            for constraint in ("one_meter_per_device", "one_device_per_meter"):
                connection.execute(f"ALTER TABLE device_registry DROP CONSTRAINT device_registry_{constraint}")
            connection.execute(
                "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
                " SELECT 1, device, n, 'MTR-' || lpad(n::text, 8, '0'), 'region-' || n / %s, 'UTC', %s"
                " FROM unnest(%s::text[]) WITH ORDINALITY AS d (device, n)",
                [METERS_PER_REGION, round(cadence_s * 1000), list(devices)],
            )
            connection.execute("ANALYZE device_registry")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            _leave_alone(connection, "template_bench")
        yield server


@contextmanager
def database(server: PostgresServer, name: str, *, template: str = "template_bench") -> Iterator[str]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        _leave_alone(connection, template)
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(copied.format(sql.Identifier(name), sql.Identifier(template)))
        connection.execute("CHECKPOINT")
        yield server.dsn(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _leave_alone(connection: psycopg.Connection, name: str) -> None:
    """Nobody may be connected to what is cloned, TimescaleDB's scheduler included."""
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


@contextmanager
def both(
    folder: Path, *, helpers: int = 0, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[PostgresServer]:
    """A server with the databases `domain` and `telemetry`, empty; `helpers` processes may help one that asks much.

    `settings` go over those of the other benchmarks.
    """
    folder.chmod(0o755)
    ours = {"max_wal_size": "8GB", "shared_buffers": "1GB", "max_parallel_workers_per_gather": str(helpers)}
    with PostgresServer(data_dir=folder / "pg", settings={**ours, **settings}, bound_to_parent=True) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            for name in ("domain", "telemetry"):
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        apply(server.dsn("domain"), "domain")
        apply(server.dsn("telemetry"), "telemetry")
        yield server
