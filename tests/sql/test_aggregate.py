"""What a claim computes besides energy: counts, coverage, quarter-hours, regions; and what it must leave alone."""

import time
from concurrent.futures import ThreadPoolExecutor
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
        "INSERT INTO dirty_readings (meter_id, first_time, last_time) SELECT meter_id, min(time), max(time)"
        " FROM raw_readings WHERE time > %s GROUP BY 1",
        START - MINUTE,
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


def test_two_claims_at_once_wait_for_each_other_over_one_meter(telemetry: Any) -> None:
    """Each sees half of the marks; whoever comes second must see what the first has written."""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(50, 100), (55, 105)])
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn) as second:
        first.execute("SELECT aggregate_readings(1, %s)", [telemetry.now])
        telemetry.registers(meter_id, [(60, 110), (65, 115)])
        second.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute("SELECT aggregate_readings(1, %s)", [telemetry.now])
        second.rollback()
        first.commit()
        second.execute("SELECT aggregate_readings(1, %s)", [telemetry.now])
        second.commit()
    assert telemetry.energy(meter_id) == {0: (10, 14), 1: (5, 14)}


def test_who_waited_for_a_meter_sees_what_the_one_before_him_has_written(telemetry: Any) -> None:
    """Waiting for its rows would be too late: by then the minutes have been computed without them."""
    meter_id, other = telemetry.meter(), telemetry.meter()
    # The first row of a chunk would make the second wait as well, and too early.
    telemetry.registers(other, [(0, 1)])
    telemetry.aggregate()
    telemetry.registers(meter_id, [(50, 100), (55, 105)])
    claim = "SELECT aggregate_readings(1, %s)"
    waits = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    with (
        psycopg.connect(telemetry.dsn) as first,
        psycopg.connect(telemetry.dsn, autocommit=True) as second,
        ThreadPoolExecutor(1) as thread,
    ):
        first.execute(claim, [telemetry.now])
        telemetry.registers(meter_id, [(60, 110), (65, 115)])
        claimed = thread.submit(second.execute, claim, [telemetry.now])
        while not claimed.done() and not telemetry.rows(waits, second.info.backend_pid):
            time.sleep(0.01)
        first.commit()
        claimed.result(timeout=10)
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
    for table in ("raw_readings", "register_minutes", "aggregates_1m"):
        telemetry.do(f"SELECT drop_chunks('{table}', older_than => %s::timestamptz)", START + timedelta(days=8))
    telemetry.now = START + timedelta(days=40)
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(30, 9.0, 130), (150, 9.0, 250)])
    telemetry.aggregate()
    assert telemetry.quarters(meter_id) == before


def test_claims_of_other_meters_do_not_wait(telemetry: Any) -> None:
    one, other = telemetry.meter(), telemetry.meter()
    telemetry.registers(one, [(0, 1)])
    telemetry.registers(other, [(0, 1)])
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn) as second:
        second.execute("SET lock_timeout = '1s'")
        telemetry.aggregate()
        telemetry.registers(one, [(1, 2)])
        telemetry.registers(other, [(1, 2)])
        first.execute("SELECT aggregate_readings(1, %s)", [telemetry.now])
        second.execute("SELECT aggregate_readings(1, %s)", [telemetry.now])
    assert telemetry.energy(one) == telemetry.energy(other) == {0: (1, 14)}


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
        plan for plan in plans if "INSERT INTO aggregates_1m" in plan and "raw_readings" in plan and "r1_min" in plan
    ]
    executed = [
        line for line in plan.splitlines() if "Scan" in line and "_hyper_" in line and "never executed" not in line
    ]
    assert len(executed) == 1
    assert "Index Scan using" in executed[0]
    assert "raw_readings_meter_id_time_key" in executed[0]


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
