"""Retention on both editions, and chunks that are there before they are needed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from cloud.workers import retention
from tests.sql.conftest import START

DAY = timedelta(days=1)


def _chunks(telemetry: Any, table: str) -> list[Any]:
    query = (
        "SELECT (range_start - %s) / 86400 AS day FROM (SELECT EXTRACT(epoch FROM range_start) AS range_start"
        " FROM timescaledb_information.chunks WHERE hypertable_name = %s) AS c ORDER BY 1"
    )
    return [int(row["day"]) for row in telemetry.rows(query, (START - timedelta(hours=12)).timestamp(), table)]


def _drop(telemetry: Any, limit: int = 100) -> int:
    return len(telemetry.rows("SELECT drop_expired_chunks(%s, %s)", limit, telemetry.now))


@pytest.fixture
def ten_days(telemetry: Any) -> Any:
    meter_id = telemetry.meter(interval_s=3600)
    telemetry.registers(meter_id, [(3600 * hour, hour) for hour in range(240)])
    telemetry.aggregate()
    telemetry.now = START + 9.5 * DAY
    return telemetry


def test_chunks_older_than_their_period_are_dropped_and_no_others(ten_days: Any) -> None:
    assert _chunks(ten_days, "raw_readings") == list(range(11))
    assert _drop(ten_days) == 3
    assert _chunks(ten_days, "raw_readings") == list(range(3, 11))
    assert _chunks(ten_days, "aggregates_1m") == list(range(11))
    assert _drop(ten_days) == 0


def test_every_table_has_its_period(ten_days: Any, edition: str) -> None:
    ten_days.now = START + 500 * DAY
    while _drop(ten_days, limit=4):
        pass
    assert _chunks(ten_days, "raw_readings") == _chunks(ten_days, "aggregates_1m") == []
    for table in ("aggregates_15m", "regional_15m"):
        assert (_chunks(ten_days, table) == []) == (edition == "apache"), table


def test_few_chunks_go_at_a_time_the_oldest_first(ten_days: Any) -> None:
    assert _drop(ten_days, limit=2) == 2
    assert _chunks(ten_days, "raw_readings")[0] == 2


def test_one_worker_drops_at_a_time(ten_days: Any) -> None:
    with psycopg.connect(ten_days.dsn) as busy:
        busy.execute("SELECT pg_advisory_xact_lock(hashtextextended('segs.retention', 0))")
        assert _drop(ten_days) == 0
    assert _drop(ten_days) > 0


@pytest.mark.parametrize(
    "mark",
    [
        "SELECT mark_meters(1, ARRAY[1], %s, %s, now())",
        "INSERT INTO failed_marks (meter_id, first_time, last_time, marked_at, failed_at, error)"
        " VALUES (1, %s, %s, now(), now(), 'numeric field overflow')",
    ],
    ids=["dirty", "failed"],
)
def test_readings_that_nobody_has_computed_yet_are_kept(ten_days: Any, mark: str) -> None:
    ten_days.do(mark, START + DAY, START + DAY)
    _drop(ten_days)
    assert _chunks(ten_days, "raw_readings")[:2] == [1, 3]


def test_readings_that_waited_beyond_their_period_are_computed_with_their_energy(telemetry: Any) -> None:
    """C6: no worker ran for nine days. Each mark is a claim, and the minute between two of them belongs to both."""
    meter_id = telemetry.meter()
    telemetry.store(
        meter_id, ["energy_import_wh"], [(s, 1000 + s * s // 70) for s in range(7, 400, 11)], mark_each=True
    )
    telemetry.now = START + 9 * DAY
    _drop(telemetry)
    telemetry.do("SET ROLE segs_worker")

    telemetry.aggregate(limit=1)
    _drop(telemetry)

    moved = 392 * 392 // 70
    for rows in (telemetry.minutes(meter_id), telemetry.quarters(meter_id)):
        assert sum(row["energy_import_wh"] or 0 for row in rows) == moved
    assert _chunks(telemetry, "raw_readings") == []


@pytest.mark.parametrize("queue", ["dirty_meters", "failed_marks"])
def test_minutes_that_no_quarter_hour_was_made_of_are_kept(telemetry: Any, queue: str) -> None:
    """C6: no worker ran for forty days, and retention comes between minutes and quarter-hours."""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(s, 1000 + s) for s in range(0, 600, 10)])
    telemetry.now = START + 40 * DAY
    telemetry.rows("SELECT * FROM aggregate_readings(200, %s)", telemetry.now)
    if queue == "failed_marks":
        telemetry.do("SELECT put_back(claim_marks(15, 1, 'infinity'), '23514', 'as it happens', now())")
    _drop(telemetry)
    telemetry.do("DELETE FROM failed_marks")
    telemetry.do("SELECT mark_meters(15, ARRAY[%s], %s, %s, now())", meter_id, START, START)
    telemetry.aggregate()
    assert sum(row["energy_import_wh"] for row in telemetry.quarters(meter_id)) == 590
    _drop(telemetry)
    assert _chunks(telemetry, "aggregates_1m") == []


async def test_a_host_whose_clock_is_years_ahead_drops_nothing_before_its_time(telemetry: Any) -> None:
    telemetry.do("INSERT INTO raw_readings (time, meter_id, batch_id) VALUES (now(), 1, 1)")
    async with await psycopg.AsyncConnection.connect(telemetry.dsn, autocommit=True) as connection:
        await retention.drop_expired(connection, datetime.now(UTC) + 4000 * DAY)
    assert telemetry.rows("SELECT count(*) AS n FROM raw_readings") == [{"n": 1}]


def test_a_register_that_completes_an_old_reading_is_booked(telemetry: Any) -> None:
    """The readings came in time, and the minute was older than the horizon when it was computed again."""
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w"], [(s, 5.0) for s in range(60)])
    telemetry.aggregate()
    telemetry.do("UPDATE raw_readings SET energy_import_wh = 1000 + extract(second FROM time) WHERE time >= %s", START)
    telemetry.do("SELECT mark_meters(1, ARRAY[%s], %s, %s, now())", meter_id, START, START)
    telemetry.now = START + 7 * DAY + timedelta(minutes=5)

    telemetry.aggregate()

    assert telemetry.energy(meter_id) == {0: (59, 14)}


def test_a_worker_needs_no_ownership_to_drop(ten_days: Any) -> None:
    ten_days.do("SET ROLE segs_worker")
    assert _drop(ten_days) == 3


def test_the_next_chunk_of_every_hypertable_is_made_once(telemetry: Any) -> None:
    telemetry.do("SET ROLE segs_worker")
    assert telemetry.rows("SELECT create_chunks_ahead(%s) AS made", telemetry.now) == [{"made": 4}]
    assert telemetry.rows("SELECT create_chunks_ahead(%s) AS made", telemetry.now) == [{"made": 0}]
    assert _chunks(telemetry, "raw_readings") == [1]
    for table, time in (("raw_readings", "time"), ("aggregates_1m", "bucket"), ("regional_15m", "bucket")):
        assert telemetry.rows(f"SELECT FROM {table} WHERE {time} > %s", START - DAY) == []


def test_writers_do_not_wait_for_a_chunk_that_was_made_ahead(telemetry: Any) -> None:
    telemetry.rows("SELECT create_chunks_ahead(%s)", telemetry.now)
    insert = "INSERT INTO raw_readings (time, meter_id, batch_id) VALUES (%s, %s, 1)"
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn) as second:
        second.execute("SET lock_timeout = '200ms'")
        first.execute(insert, [START + DAY, 1])
        second.execute(insert, [START + DAY, 2])


@pytest.mark.community
def test_on_the_community_edition_policies_drop_what_nothing_waits_for(ten_days: Any) -> None:
    jobs = ten_days.rows(
        "SELECT job_id, hypertable_name, config ->> 'drop_after' AS keep FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_schema = 'public'"
    )
    assert {job["hypertable_name"]: job["keep"] for job in jobs} == {
        "aggregates_15m": "365 days",
        "regional_15m": "365 days",
    }
    for job in jobs:
        ten_days.do("CALL run_job(%s)", job["job_id"])
    assert _chunks(ten_days, "raw_readings") == _chunks(ten_days, "aggregates_1m") == list(range(11))


@pytest.mark.community
def test_on_the_community_edition_cagg_1m_refreshes_itself(telemetry: Any) -> None:
    query = "SELECT config FROM timescaledb_information.jobs WHERE proc_name = 'policy_refresh_continuous_aggregate'"
    [job] = telemetry.rows(query)
    assert job["config"]["start_offset"] == "5 days"
    assert telemetry.rows("SELECT materialized_only FROM timescaledb_information.continuous_aggregates") == [
        {"materialized_only": False}
    ]


@pytest.mark.community
def test_the_refresh_job_empties_no_minute_whose_readings_are_gone(telemetry: Any) -> None:
    """Dropping readings tells cagg_1m that they have changed; its job must not look that far back."""
    meter_id = telemetry.meter()
    insert = "INSERT INTO raw_readings (time, meter_id, batch_id, power_w) VALUES (now() - %s, %s, 1, 5)"
    for days in (9, 6, 4):
        telemetry.do(insert, days * DAY, meter_id)
    telemetry.do("CALL refresh_continuous_aggregate('cagg_1m', NULL, NULL)")
    query = "SELECT * FROM cagg_1m WHERE bucket > now() - INTERVAL '10 days' ORDER BY bucket"
    minutes = telemetry.rows(query)
    assert len(telemetry.rows("SELECT drop_expired_chunks(10, now())")) == 1
    for job in telemetry.rows(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name IN ('policy_compression',"
        " 'policy_refresh_continuous_aggregate') ORDER BY job_id DESC"
    ):
        telemetry.do("CALL run_job(%s)", job["job_id"])
    assert telemetry.rows(query) == minutes
    assert len(minutes) == 3
