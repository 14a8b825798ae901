"""aggregates_1m against cagg_1m: two pieces of SQL that must agree."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from psycopg import AsyncConnection

from cloud.workers.reconcile import reconcile, windows
from tests.sql.conftest import START


@pytest.fixture
def settled(telemetry: Any) -> Any:
    meter_id = telemetry.meter()
    columns = ["power_w", "energy_import_wh"]
    telemetry.store(meter_id, columns, [(s, s / 7, s) for s in range(600)])
    telemetry.aggregate()
    return telemetry


def _reconcile(telemetry: Any) -> tuple[int, int]:
    end = START + timedelta(hours=1)
    [row] = telemetry.rows("SELECT * FROM reconcile_minutes(%s, %s, %s)", START, end, telemetry.now)
    return row["minutes"], row["mismatches"]


def test_what_was_computed_agrees(settled: Any) -> None:
    assert _reconcile(settled) == (10, 0)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE aggregates_1m SET power_w_sum = power_w_sum + 1 WHERE bucket = %s",
        "UPDATE aggregates_1m SET samples = samples - 1 WHERE bucket = %s",
        "UPDATE aggregates_1m SET power_w_min = NULL WHERE bucket = %s",
        "DELETE FROM aggregates_1m WHERE bucket = %s",
        "UPDATE aggregates_1m SET energy_import_wh = energy_import_wh - 5 WHERE bucket = %s",
        "UPDATE aggregates_1m SET energy_import_start_wh = energy_import_start_wh + 5 WHERE bucket = %s",
        "UPDATE aggregates_1m SET energy_import_wh = NULL WHERE bucket = %s",
    ],
)
def test_a_wrong_minute_is_found_kept_and_computed_again(settled: Any, damage: str) -> None:
    """C14: the check reads what the readings say, and says when the two differ."""
    good = settled.minutes(1)
    settled.do(damage, START + timedelta(minutes=4))
    assert _reconcile(settled) == (10, 1)
    [kept] = settled.rows("SELECT * FROM aggregate_mismatches")
    assert (kept["meter_id"], kept["bucket"]) == (1, START + timedelta(minutes=4))
    assert kept["expected"]["samples"] == 60
    assert (kept["found"] is None) == damage.startswith("DELETE")
    settled.aggregate()
    assert settled.minutes(1) == good
    assert _reconcile(settled) == (10, 0)


async def test_a_worker_finds_stores_and_counts_a_wrong_minute_which_is_computed_again(settled: Any) -> None:
    """C14: the reconciliation goes on by itself, on either edition."""
    good = settled.minutes(1)
    settled.do("UPDATE aggregates_1m SET power_w_max = 0 WHERE bucket = %s", START + timedelta(minutes=4))
    assert await _work(settled, START + timedelta(minutes=12)) == 1
    assert settled.rows("SELECT bucket FROM aggregate_mismatches") == [{"bucket": START + timedelta(minutes=4)}]
    settled.aggregate()
    assert settled.minutes(1) == good
    assert await _work(settled, START + timedelta(minutes=17)) == 0


async def _work(telemetry: Any, now: datetime) -> float:
    """One turn of the worker; how many mismatches it has counted."""
    counted = REGISTRY.get_sample_value("segs_worker_mismatches_total") or 0
    async with await AsyncConnection.connect(telemetry.dsn, autocommit=True) as connection:
        await connection.execute("SET ROLE segs_worker")
        await reconcile(connection, now)
    return (REGISTRY.get_sample_value("segs_worker_mismatches_total") or 0) - counted


def test_every_minute_of_five_days_has_its_turn_within_three(settled: Any) -> None:
    turns = [span for n in range(3 * 288) for span in windows(settled.now + n * timedelta(minutes=5))]
    end = settled.now
    minutes = {end - n * timedelta(minutes=1) for n in range(60, 2 * 1440, 7)}
    assert all(any(begin <= minute < until for begin, until in turns) for minute in minutes)


def test_a_minute_that_waits_to_be_computed_is_no_mismatch(settled: Any) -> None:
    settled.store(1, ["power_w"], [(s + 0.5, 1.0) for s in range(100, 110)])
    assert _reconcile(settled) == (9, 0)
    settled.aggregate()
    assert _reconcile(settled) == (10, 0)


def test_minutes_beyond_five_days_are_left_alone(settled: Any) -> None:
    settled.do("DELETE FROM aggregates_1m WHERE bucket >= %s", START)
    settled.now = START + timedelta(days=6)
    assert _reconcile(settled) == (0, 0)


def test_a_periodic_work_is_done_by_one_worker_and_not_again_too_soon(telemetry: Any) -> None:
    claim = "SELECT claim_periodic_work('reconcile', INTERVAL '5 minutes', %s) AS mine"
    assert telemetry.rows(claim, START) == [{"mine": True}]
    assert telemetry.rows(claim, START + timedelta(minutes=4)) == [{"mine": False}]
    assert telemetry.rows(claim, START + timedelta(minutes=5)) == [{"mine": True}]


@pytest.fixture
def materialised(settled: Any) -> Any:
    """All minutes come out of the continuous aggregate's own table, as after a refresh."""
    settled.do("CALL refresh_continuous_aggregate('cagg_1m', NULL, %s)", START + timedelta(hours=1))
    return settled


@pytest.mark.community
def test_minutes_that_the_continuous_aggregate_has_stored_agree_too(materialised: Any) -> None:
    [stored] = materialised.rows(
        "SELECT materialization_hypertable_schema || '.' || materialization_hypertable_name AS name"
        " FROM timescaledb_information.continuous_aggregates"
    )
    assert materialised.rows(f"SELECT count(*) FROM {stored['name']} WHERE bucket >= %s", START) == [{"count": 10}]
    assert _reconcile(materialised) == (10, 0)
    materialised.do("UPDATE aggregates_1m SET samples = 1 WHERE bucket = %s", START)
    assert _reconcile(materialised) == (10, 1)


@pytest.mark.community
def test_the_minute_after_the_last_refresh_is_there_at_once(materialised: Any) -> None:
    materialised.store(1, ["power_w"], [(600 + s, 1.0) for s in range(60)])
    materialised.aggregate()
    assert _reconcile(materialised) == (11, 0)


@pytest.mark.community
@pytest.mark.parametrize(
    "late",
    [
        "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (%s, 1, 2, 9e3)",
        "UPDATE raw_readings SET energy_import_wh = 0 WHERE meter_id = 1 AND time = %s",
        "UPDATE raw_readings SET power_w = 9e3 WHERE meter_id = 1 AND time = %s",
    ],
    ids=["reading", "register", "power"],
)
def test_what_came_since_the_last_refresh_is_no_mismatch(telemetry: Any, late: str) -> None:
    """A reading may also be completed by columns that a later batch brings."""
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, s, s) for s in range(1, 120)])
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(0, None, None)])
    telemetry.aggregate()
    telemetry.do("CALL refresh_continuous_aggregate('cagg_1m', NULL, %s)", START + timedelta(hours=1))
    at = START + timedelta(seconds=30.5) if late.startswith("INSERT") else START
    telemetry.do(late, at)
    telemetry.do("SELECT mark_meters(1, ARRAY[1], %s, %s, now())", at, at)
    telemetry.aggregate()
    assert _reconcile(telemetry) == (2, 0)
    telemetry.do("CALL refresh_continuous_aggregate('cagg_1m', NULL, %s)", START + timedelta(hours=1))
    assert _reconcile(telemetry) == (2, 0)


@pytest.mark.community
def test_a_refresh_leaves_the_minutes_whose_readings_retention_has_dropped(materialised: Any) -> None:
    minutes = materialised.rows("SELECT * FROM cagg_1m WHERE bucket >= %s ORDER BY bucket", START)
    materialised.now = START + timedelta(days=9)
    assert len(materialised.rows("SELECT drop_expired_chunks(10, %s)", materialised.now)) == 1
    window = (materialised.now - timedelta(days=5), materialised.now)
    materialised.do("CALL refresh_continuous_aggregate('cagg_1m', %s, %s)", *window)
    assert materialised.rows("SELECT * FROM cagg_1m WHERE bucket >= %s ORDER BY bucket", START) == minutes != []
