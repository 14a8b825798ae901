"""Numbers that stand in two places are the same in both."""

from datetime import timedelta

import psycopg
import pytest

from cloud.command import DEFAULT_MAX_POWER_W, LARGEST_WH
from tests.sql.conftest import Telemetry


def test_energy_that_commands_take_is_what_the_database_takes(telemetry: Telemetry) -> None:
    telemetry.rows("SELECT require_energy(ARRAY[%s::bigint, NULL])", LARGEST_WH)
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        telemetry.rows("SELECT require_energy(ARRAY[%s::bigint])", LARGEST_WH + 1)


def test_what_a_connection_carries_of_which_nobody_says_it_is_the_same_everywhere(
    telemetry_db: str, domain_db: str
) -> None:
    query = (
        "SELECT column_default FROM information_schema.columns"
        " WHERE column_name = 'max_power_w' AND column_default IS NOT NULL"
    )
    for dsn in (telemetry_db, domain_db):
        with psycopg.connect(dsn) as connection:
            [(default,)] = connection.execute(query).fetchall()
            said = connection.execute(f"SELECT ({default})::float8".encode()).fetchone()
            assert said == (DEFAULT_MAX_POWER_W,)


def test_limits_cost_a_statement_nothing(telemetry: Telemetry) -> None:
    """They are constants by the time that it runs."""
    plan = telemetry.rows(
        "EXPLAIN VERBOSE SELECT quality_rank(quality), quality_of_rank(samples), bucket - usual_span()"
        " FROM aggregates_15m"
    )
    assert "quality_order" not in str(plan)
    assert "usual_span" not in str(plan)
    assert "'{19,0,17,14,18,7,8,9,10}'::smallint[]" in str(plan)


@pytest.mark.parametrize(("apart", "energy"), [(timedelta(0), 0), (timedelta(seconds=-1), 1000)])
def test_energy_is_booked_across_less_than_the_longest_gap(telemetry: Telemetry, apart: timedelta, energy: int) -> None:
    [row] = telemetry.rows("SELECT longest_gap() AS gap")
    gap = row["gap"]
    assert isinstance(gap, timedelta)
    meter_id = telemetry.meter()
    telemetry.now += timedelta(days=10)
    telemetry.registers(meter_id, [(0, 5000), ((gap + apart).total_seconds(), 6000)])
    telemetry.aggregate()
    assert sum(int(str(row["energy_import_wh"])) for row in telemetry.minutes(meter_id)) == energy
