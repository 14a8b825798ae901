"""What the receivers take and what the database keeps are one period."""

import psycopg

from cloud.ingest.acceptance import ACCEPTANCE


def test_readings_are_taken_for_as_long_as_they_are_kept(telemetry_db: str) -> None:
    """Older ones would be dropped, or computed from a part of their minute (C7)."""
    with psycopg.connect(telemetry_db) as connection:
        kept = connection.execute("SELECT keep FROM retention_periods() WHERE hypertable = 'raw_readings'").fetchone()

    assert kept == (ACCEPTANCE.past,)
