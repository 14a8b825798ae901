"""What only the Community edition has, edited in the master."""

from typing import LiteralString

import psycopg
import pytest

from cloud.schema.apply import apply
from cloud.schema.check import check

pytestmark = pytest.mark.community

EARLIER: dict[str, LiteralString] = {
    "retention": "SELECT remove_retention_policy('aggregates_15m');"
    " SELECT add_retention_policy('aggregates_15m', INTERVAL '300 days')",
    "retention by policy of readings": "SELECT add_retention_policy('raw_readings', INTERVAL '7 days')",
    "retention by policy of minutes": "SELECT add_retention_policy('aggregates_1m', INTERVAL '30 days')",
    "compression": "SELECT remove_compression_policy('aggregates_1m');"
    " ALTER TABLE aggregates_1m SET (timescaledb.compress, timescaledb.compress_segmentby = '')",
    "compression's lateness": "SELECT remove_compression_policy('raw_readings');"
    " SELECT add_compression_policy('raw_readings', INTERVAL '1 day')",
    "compression undone": "SELECT leave_community()",
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


def test_an_edit_reaches_tables_that_have_compressed_chunks(telemetry_db: str) -> None:
    """D17: TimescaleDB refuses a grant on columns of such a table, and the master has one."""
    apply(telemetry_db, "telemetry", again=True)
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        connection.execute("INSERT INTO raw_readings (time, meter_id, batch_id) VALUES ('2026-03-01', 1, 1)")
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('raw_readings') AS c")
        connection.execute("SET timescaledb.restoring = on")
        connection.execute("REVOKE UPDATE (power_w, energy_import_wh) ON raw_readings FROM segs_ingest")
    assert len(_differences(telemetry_db)) == 2
    apply(telemetry_db, "telemetry", again=True)
    assert _differences(telemetry_db) == []
