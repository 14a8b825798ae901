"""What only the Community edition has, edited in the master or met on a server that has become the other edition."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from cloud.schema.apply import apply
from cloud.schema.check import check
from local.servers import PostgresServer

pytestmark = pytest.mark.community

EARLIER: dict[str, LiteralString] = {
    "retention": "SELECT remove_retention_policy('aggregates_1m');"
    " SELECT add_retention_policy('aggregates_1m', INTERVAL '29 days')",
    "retention by policy of what is computed from": "SELECT add_retention_policy('raw_readings', INTERVAL '7 days')",
    "refresh": "SELECT remove_continuous_aggregate_policy('cagg_1m');"
    " SELECT add_continuous_aggregate_policy('cagg_1m', INTERVAL '3 days', INTERVAL '1 hour', INTERVAL '1 hour')",
    "query": "DROP MATERIALIZED VIEW cagg_1m;"
    " CREATE MATERIALIZED VIEW cagg_1m WITH (timescaledb.continuous) AS"
    " SELECT meter_id, time_bucket(INTERVAL '1 minute', time) AS bucket, count(*) AS samples"
    " FROM raw_readings GROUP BY 1, 2 WITH NO DATA",
}


def _differences(dsn: str) -> list[str]:
    return [str(difference) for difference in check(dsn, "telemetry").differences]


@pytest.mark.parametrize("earlier", EARLIER)
def test_an_edit_of_the_master_reaches_what_a_live_database_has_already(telemetry_db: str, earlier: str) -> None:
    """D17: `if_not_exists` passes over a policy or aggregate that is there with other contents."""
    apply(telemetry_db, "telemetry", again=True)  # a clone does not inherit the rights to connect
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        for statement in EARLIER[earlier].split(";"):
            connection.execute(statement)
    assert _differences(telemetry_db) != []
    apply(telemetry_db, "telemetry", again=True)
    assert _differences(telemetry_db) == []


@contextmanager
def _server(folder: Path, licence: str) -> Iterator[str]:
    settings = {"fsync": "off", "timescaledb.license": licence, "timescaledb.max_background_workers": "1"}
    with PostgresServer(data_dir=folder, settings=settings, bound_to_parent=True) as server:
        assert server.edition == ("apache" if licence == "apache" else "community")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'telemetry'").fetchone():
                connection.execute("CREATE DATABASE telemetry")
        yield server.dsn("telemetry")


def _store_and_compare(dsn: str) -> Any:
    """Minutes compared and mismatches, after one reading more."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic') ON CONFLICT DO NOTHING")
        connection.execute(
            "INSERT INTO region_registry (region, capacity_w) VALUES ('north', 100000) ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, max_power_w,"
            " interval_ms) SELECT 1, 'd1', 1, 'MTR-00000001', 'north', 'UTC', 20000, 1000"
            " WHERE NOT EXISTS (SELECT FROM device_registry)"
        )
        connection.execute(
            "INSERT INTO raw_readings (time, meter_id, batch_id, power_w)"
            " VALUES (clock_timestamp() - INTERVAL '1 hour', 1, 1, 5)"
        )
        connection.execute(
            "SELECT mark_meters(1, ARRAY[1], now() - INTERVAL '70 minutes', now() - INTERVAL '50 minutes', now())"
        )
        connection.execute("SELECT aggregate_readings()")
        return connection.execute(
            "SELECT minutes > 0, mismatches FROM reconcile_minutes(now() - INTERVAL '2 hours', now(), now())"
        ).fetchone()


def test_a_database_goes_on_when_its_server_becomes_the_other_edition(tmp_path: Path) -> None:
    """Without its licence a continuous aggregate's trigger refuses every reading, until `apply` has taken it away."""
    for licence in ("apache", "timescale", "apache"):
        with _server(tmp_path, licence) as dsn:
            apply(dsn, "telemetry", again=True)
            assert _store_and_compare(dsn) == (True, 0)
            left = [line for line in _differences(dsn) if "policy policy_retention" not in line]
            assert left == [], licence
