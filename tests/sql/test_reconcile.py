"""aggregates_1m against cagg_1m: two pieces of SQL that must agree."""

from datetime import timedelta
from typing import Any

import pytest

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
        "UPDATE register_minutes SET last_value = last_value + 5 WHERE bucket = %s",
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
