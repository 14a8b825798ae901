"""A durable database server for a benchmark, as in production, with databases that know every meter."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from cloud.gateways.key import Key
from cloud.schema.apply import apply
from local.servers import PostgresServer


@contextmanager
def cluster(folder: Path, devices: Sequence[str], key: Key) -> Iterator[PostgresServer]:
    """A server with a template database: one gateway with `key`, whose `devices` are meters 1, 2, … at 1 s."""
    folder.chmod(0o755)
    server = PostgresServer(data_dir=folder / "pg", settings={"max_wal_size": "4GB"}, bound_to_parent=True)
    with server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE template_bench TEMPLATE template0")
        apply(server.dsn("template_bench"), "telemetry")
        with psycopg.connect(server.dsn("template_bench")) as connection:
            connection.execute("INSERT INTO gateway_registry VALUES (1, 'bench', %s)", [[key.digest]])
            connection.execute("INSERT INTO region_registry VALUES ('bench', 1e9)")
            connection.execute(
                "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)"
                " SELECT 1, device, n, 'MTR-' || lpad(n::text, 8, '0'), 'bench', 'UTC', 1000"
                " FROM unnest(%s::text[]) WITH ORDINALITY AS d (device, n)",
                [list(devices)],
            )
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            # Nobody may be connected to what is cloned, TimescaleDB's scheduler included.
            connection.execute("ALTER DATABASE template_bench ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'template_bench'"
            )
        yield server


@contextmanager
def database(server: PostgresServer, name: str) -> Iterator[str]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template_bench").format(sql.Identifier(name)))
        connection.execute("CHECKPOINT")
        yield server.dsn(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
