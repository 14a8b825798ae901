"""What a claim computes besides energy: counts, coverage, quarter-hours, regions; and what it must leave alone."""

import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import MINUTE, START


def test_a_minute_has_count_lowest_highest_and_sum_of_what_was_read(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=10)
    telemetry.store(meter_id, ["power_w", "frequency_hz"], [(0, 10.0, 50.0), (10, -30.0, None), (59.9, 20.5, 49.5)])
    telemetry.aggregate()
    [minute] = telemetry.minutes(meter_id)
    assert [minute[f"power_w_{name}"] for name in ("count", "min", "max", "sum")] == [3, -30.0, 20.5, 0.5]
    assert [minute[f"frequency_hz_{name}"] for name in ("count", "min", "max", "sum")] == [2, 49.5, 50.0, 99.5]
    assert [minute[f"voltage_l1_v_{name}"] for name in ("count", "min", "max", "sum")] == [0, None, None, None]
    assert (minute["samples"], minute["coverage"], minute["energy_import_wh"]) == (3, 50, None)


def test_zero_watts_is_a_reading(telemetry: Any) -> None:
    """C5"""
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w"], [(0, 0.0), (1, 0.0), (2, 600.0)])
    telemetry.aggregate()
    [minute] = telemetry.minutes(meter_id)
    assert (minute["power_w_count"], minute["power_w_sum"], minute["power_w_min"]) == (3, 600, 0)


def test_coverage_ends_at_a_hundred_percent(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=10)
    telemetry.store(meter_id, ["power_w"], [(s, 1.0) for s in range(60)])
    telemetry.aggregate()
    assert telemetry.minutes(meter_id)[0]["coverage"] == 100


def test_a_quarter_of_an_hour_adds_up_its_minutes_and_inherits_the_worst_quality(telemetry: Any) -> None:
    """C9: the mean comes from sums and counts, not from means."""
    meter_id = telemetry.meter()
    rows = [(s, 100.0, s) for s in range(60)] + [(s, 400.0, s) for s in range(600, 610)]
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], rows)
    telemetry.aggregate()
    [quarter] = telemetry.quarters(meter_id)
    assert (quarter["power_w_count"], quarter["power_w_sum"]) == (70, 10_000)
    assert (quarter["energy_import_wh"], quarter["quality"]) == (609, 9)
    assert quarter["coverage"] == pytest.approx((100 + 100 * 10 / 60) / 15)


@pytest.mark.parametrize(
    ("qualities", "worst"), [([14, 10, 9], 10), ([14, 9, 17], 9), ([8, 7, 14], 8), ([17, 14], 14), ([19, 0], 0)]
)
def test_the_worst_quality_wins(telemetry: Any, qualities: list[int], worst: int) -> None:
    query = "SELECT quality_of_rank(max(quality_rank(q))) AS worst FROM unnest(%s::smallint[]) AS q"
    assert telemetry.rows(query, qualities) == [{"worst": worst}]


def test_a_region_sums_the_meters_that_belonged_to_it_at_the_time(telemetry: Any) -> None:
    """C11: one row for the whole region, whichever worker computes it."""
    telemetry.do("INSERT INTO region_registry (region, capacity_w) VALUES ('south', NULL)")
    stays, moves, silent = telemetry.meter(), telemetry.meter(), telemetry.meter()
    telemetry.do(
        "UPDATE device_registry SET valid = tstzrange('-infinity', %s) WHERE meter_id = %s",
        *(START + 15 * MINUTE, moves),
    )
    telemetry.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
        " VALUES (1, 'd2', %s, 'MTR-00000002', 'south', 'UTC', 1000, tstzrange(%s, 'infinity'))",
        *(moves, START + 15 * MINUTE),
    )
    for meter_id, power_w in ((stays, 1000.0), (moves, 3000.0)):
        columns = ["power_w", "energy_import_wh"]
        telemetry.store(meter_id, columns, [(s, power_w, s) for s in range(0, 1800, 60)])
    telemetry.aggregate()
    rows = telemetry.rows("SELECT * FROM regional_15m WHERE bucket >= %s ORDER BY bucket, region", START)
    shown = [(row["region"], row["meters"], row["meters_expected"], row["energy_import_wh"]) for row in rows]
    assert shown == [("north", 2, 3, 1800), ("north", 1, 2, 840), ("south", 1, 1, 840)]
    assert [(row["power_w_mean"], row["load_percent"]) for row in rows] == [(4000, 4), (1000, 1), (3000, None)]
    assert silent not in {row["meter_id"] for row in telemetry.rows("SELECT meter_id FROM aggregates_15m")}


def test_computing_again_changes_nothing(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, 1.5, 3 * s) for s in range(0, 3000, 7)])
    telemetry.aggregate()
    before = telemetry.minutes(meter_id), telemetry.quarters(meter_id)
    telemetry.do(
        "SELECT mark_meters(1, ARRAY[meter_id], min(time), max(time), %s) FROM raw_readings WHERE time > %s"
        " GROUP BY meter_id",
        *(telemetry.now, START - MINUTE),
    )
    telemetry.aggregate()
    assert (telemetry.minutes(meter_id), telemetry.quarters(meter_id)) == before


def test_buckets_are_utc_whatever_the_session_says(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.do("SET timezone = 'Africa/Monrovia'")
    telemetry.do("SET timezone = 'Asia/Kathmandu'")
    telemetry.registers(meter_id, [(s, s) for s in range(0, 1900, 10)])
    telemetry.aggregate()
    offsets = [(row["bucket"] - START) / MINUTE for row in telemetry.quarters(meter_id)]
    assert offsets == [0, 15, 30]


def test_what_is_left_after_retention_never_replaces_a_complete_minute(telemetry: Any) -> None:
    """C7: the raw readings are dropped, then one of them is replayed."""
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, 1.0, 100 + s) for s in range(300)])
    telemetry.aggregate()
    before = telemetry.minutes(meter_id), telemetry.quarters(meter_id)
    telemetry.do("SELECT drop_chunks('raw_readings', older_than => %s::timestamptz)", START + timedelta(days=2))
    telemetry.now = START + timedelta(days=9)
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(30, 9.0, 130), (150, 9.0, 250)])
    telemetry.aggregate()
    assert (telemetry.minutes(meter_id), telemetry.quarters(meter_id)) == before


def test_marks_of_a_claim_that_fails_stay(telemetry: Any) -> None:
    """C6"""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(0, 1), (70, 2)])
    with psycopg.connect(telemetry.dsn) as dying:
        dying.execute("SELECT aggregate_readings(200, %s)", [telemetry.now])
        dying.execute("SELECT pg_backend_pid()")
        telemetry.do("SELECT pg_terminate_backend(%s)", dying.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            dying.commit()
    assert telemetry.minutes(meter_id) == []
    telemetry.aggregate()
    assert telemetry.energy(meter_id) == {0: (1, 9), 1: (0, 9)}


def test_meters_that_another_worker_is_at_are_left_to_him_until_he_has_committed(telemetry: Any) -> None:
    """Each sees half of the marks; whoever comes second must see what the first has written."""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(50, 100), (55, 105)])
    claim = "SELECT marks FROM aggregate_readings(1, %s)"
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn, autocommit=True) as second:
        assert first.execute(claim, [telemetry.now]).fetchone() == (1,)
        telemetry.registers(meter_id, [(60, 110), (65, 115)])
        assert second.execute(claim, [telemetry.now]).fetchone() == (0,)
        first.commit()
        assert second.execute(claim, [telemetry.now]).fetchone() == (1,)
    assert telemetry.energy(meter_id) == {0: (10, 14), 1: (5, 14)}


def test_a_region_is_summed_by_one_worker_at_a_time_and_others_meanwhile(telemetry: Any) -> None:
    """Each would overwrite what the other, who read later, has written."""
    telemetry.do("INSERT INTO region_registry (region, capacity_w) VALUES ('south', 100000)")
    mark = "INSERT INTO dirty_regions (region, bucket) VALUES (%s, %s)"
    sums = "SELECT marks FROM aggregate_regions(1)"
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn) as second:
        second.execute("SET lock_timeout = '200ms'")
        second.commit()
        for region in ("north", "north", "south"):
            telemetry.do(mark, region, START)
        assert first.execute(sums).fetchone() == (1,)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(sums)
        second.rollback()
        telemetry.do("DELETE FROM dirty_regions WHERE dirty_id = (SELECT min(dirty_id) + 1 FROM dirty_regions)")
        assert second.execute(sums).fetchone() == (1,)


def test_what_is_left_of_the_minutes_never_replaces_a_complete_quarter_of_an_hour(telemetry: Any) -> None:
    """C7: minutes are kept for 30 days; what is replayed after them is a part of its quarter-hour."""
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, 1.0, 100 + s) for s in range(300)])
    telemetry.aggregate()
    before = telemetry.quarters(meter_id)
    for table in ("raw_readings", "aggregates_1m"):
        telemetry.do(f"SELECT drop_chunks('{table}', older_than => %s::timestamptz)", START + timedelta(days=8))
    telemetry.now = START + timedelta(days=40)
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(30, 9.0, 130), (150, 9.0, 250)])
    telemetry.aggregate()
    assert telemetry.quarters(meter_id) == before


def test_workers_compute_other_blocks_of_meters_at_the_same_time(telemetry: Any) -> None:
    one, other = telemetry.meter(), telemetry.meter(meter_id=5000)
    claim = "SELECT marks FROM aggregate_readings(10, %s)"
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn) as second:
        second.execute("SET lock_timeout = '1s'")
        telemetry.registers(one, [(0, 0)])
        telemetry.aggregate()  # the first row of a chunk would make the second wait
        telemetry.registers(one, [(1, 1)])
        telemetry.registers(other, [(0, 0), (1, 1)])
        assert first.execute(claim, [telemetry.now]).fetchone() == (1,)
        assert second.execute(claim, [telemetry.now]).fetchone() == (1,)
    assert telemetry.energy(one) == telemetry.energy(other) == {0: (1, 14)}


def test_a_minute_that_goes_on_is_due_when_it_is_over_and_computed_early_when_asked(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.now = START + timedelta(seconds=30)
    telemetry.registers(meter_id, [(0, 1), (20, 5)])
    claim = "SELECT marks FROM aggregate_readings(10, %s, %s)"
    assert telemetry.rows(claim, telemetry.now, False) == [{"marks": 0}]
    assert telemetry.rows(claim, START + timedelta(seconds=64), False) == [{"marks": 0}]
    assert telemetry.rows(claim, telemetry.now, True) == [{"marks": 1}]
    telemetry.registers(meter_id, [(30, 7)])
    assert telemetry.rows(claim, START + timedelta(seconds=65), False) == [{"marks": 1}]
    assert telemetry.energy(meter_id) == {0: (6, 14)}


def test_readings_of_a_clock_that_is_ahead_are_due_like_those_of_now(telemetry: Any) -> None:
    telemetry.now = START - timedelta(minutes=4)
    telemetry.registers(telemetry.meter(), [(0, 1)])
    assert telemetry.rows("SELECT due_at FROM dirty_meters") == [{"due_at": telemetry.now + timedelta(seconds=65)}]


def test_a_version_counts_changes_of_energy_and_quality_and_nothing_else(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    version = "SELECT version FROM aggregates_15m WHERE meter_id = %s AND bucket = %s"
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, 5.0, s) for s in range(60)])
    telemetry.aggregate()
    telemetry.store(meter_id, ["power_w"], [(s + 0.5, 5.0) for s in range(30)])
    telemetry.aggregate()
    assert telemetry.rows(version, meter_id, START) == [{"version": 1}]
    telemetry.store(meter_id, ["energy_import_wh"], [(s, s) for s in range(60, 70)])
    telemetry.aggregate()
    assert telemetry.rows(version, meter_id, START) == [{"version": 2}]


def test_raw_readings_are_read_by_index_from_the_chunks_of_the_span_alone(telemetry: Any) -> None:
    """Eight days of chunks, one minute touched."""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(-day * 86400 + s, s) for day in range(8) for s in range(0, 600, 10)])
    telemetry.aggregate()
    telemetry.registers(meter_id, [(601, 700)])
    telemetry.do("LOAD 'auto_explain'")
    for setting in ("log_min_duration = 0", "log_nested_statements = on", "log_analyze = on", "log_level = notice"):
        telemetry.do(f"SET auto_explain.{setting}")
    plans: list[str] = []
    telemetry.connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    telemetry.do("SET client_min_messages = notice")
    telemetry.aggregate()
    [plan] = [
        plan for plan in plans if "INSERT INTO aggregates_1m" in plan and "raw_readings" in plan and "r1_odd" in plan
    ]
    executed = [
        line for line in plan.splitlines() if "Scan" in line and "_hyper_" in line and "never executed" not in line
    ]
    chunks = {re.search(r"_hyper_\d+_\d+_chunk", line).group() for line in executed if "raw_readings" in line}  # type: ignore[union-attr]
    assert len(chunks) == 1
    assert all("Index Scan" in line for line in executed)


def test_the_worker_role_may_do_all_of_it_and_no_other_role_may(telemetry: Any) -> None:
    telemetry.registers(telemetry.meter(), [(0, 1), (61, 3)])
    for role in ("segs_api", "segs_ingest", "segs_readonly"):
        telemetry.do(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            telemetry.aggregate()
        telemetry.do("RESET ROLE")
    telemetry.do("SET ROLE segs_worker")
    telemetry.aggregate()
    telemetry.rows("SELECT * FROM reconcile_minutes(%s, %s, %s)", START, telemetry.now, telemetry.now)
    telemetry.rows("SELECT * FROM meter_completeness(%s, %s, true)", START, telemetry.now)
    telemetry.rows("SELECT * FROM stream_completeness(%s, %s)", START, telemetry.now)
    assert telemetry.rows("SELECT claim_periodic_work('reconcile', INTERVAL '1 minute', %s) AS mine", START) == [
        {"mine": True}
    ]
    assert sum(telemetry.energy(1)[minute][0] for minute in (0, 1)) == 2
