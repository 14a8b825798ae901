"""Compressed chunks: what comes late finds its way in, what is read from them is the same, and what is old goes."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from tests.sql.conftest import START

pytestmark = pytest.mark.community

TABLES = ("raw_readings", "aggregates_1m", "aggregates_15m")
COLUMNS = ["power_w", "energy_import_wh"]
READS = [(s, s % 7, 1000 + s // 3) for s in range(0, 4000, 20)]


def _compressed(telemetry: Any, table: str) -> list[Any]:
    query = "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = %s ORDER BY range_start"
    return [row["is_compressed"] for row in telemetry.rows(query, table)]


def _compress(telemetry: Any) -> None:
    """All that is there; chunks of START are older than any policy's lateness, so the policies' own jobs do it."""
    for job in telemetry.rows(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' ORDER BY job_id"
    ):
        telemetry.do("CALL run_job(%s)", job["job_id"])


@pytest.fixture
def compressed(telemetry: Any) -> Any:
    """Meter 1 has every reading, meter 2 every other one, in compressed chunks."""
    for meter_id, reads in ((telemetry.meter(), READS), (telemetry.meter(), READS[::2])):
        telemetry.store(meter_id, COLUMNS, reads)
    telemetry.aggregate()
    _compress(telemetry)
    for table in TABLES:
        assert _compressed(telemetry, table) == [True], table
    return telemetry


def test_chunks_are_compressed_after_the_usual_lateness_and_not_before(telemetry: Any) -> None:
    days = {"raw_readings": ("time, meter_id, batch_id", "1, 1", 2, 5)}
    for table in TABLES[1:]:
        days[table] = ("bucket, meter_id, samples, coverage, quality", "1, 0, 0, 14", 7, 16)
    for table, (columns, values, young, old) in days.items():
        for age in (young, old):
            telemetry.do(f"INSERT INTO {table} ({columns}) VALUES (now() - %s, {values})", timedelta(days=age))
    _compress(telemetry)
    for table in TABLES:
        assert _compressed(telemetry, table) == [True, False], table


def test_a_meters_rows_are_compressed_together_in_the_order_of_time(telemetry: Any) -> None:
    found = telemetry.rows(
        "SELECT hypertable_name AS table, attname AS column, segmentby_column_index AS segment,"
        " orderby_asc AS ascending"
        " FROM timescaledb_information.compression_settings ORDER BY 1, 2 DESC"
    )
    for table, time in (("raw_readings", "time"), ("aggregates_1m", "bucket"), ("aggregates_15m", "bucket")):
        of_table = {row["column"]: (row["segment"], row["ascending"]) for row in found if row["table"] == table}
        assert of_table == {"meter_id": (1, None), time: (None, True)}, table


def test_a_reading_is_unique_in_a_compressed_chunk_too(compressed: Any) -> None:
    compressed.do("SET ROLE segs_ingest")
    with pytest.raises(UniqueViolation):
        compressed.do("INSERT INTO raw_readings (time, meter_id, batch_id) VALUES (%s, 1, 2)", START)


def test_late_readings_make_the_intervals_that_they_would_have_made_in_time(compressed: Any) -> None:
    """C7"""
    compressed.store(2, COLUMNS, READS[1::2])
    compressed.aggregate()
    assert compressed.minutes(2) == compressed.minutes(1) != []
    assert compressed.quarters(2) == compressed.quarters(1) != []


def test_late_readings_come_by_copy_as_the_receiver_sends_them(compressed: Any) -> None:
    with psycopg.connect(compressed.dsn) as receiver, receiver.cursor() as cursor:
        receiver.execute("SET ROLE segs_ingest")
        names = "time, meter_id, batch_id, power_w, energy_import_wh"
        with cursor.copy(f"COPY raw_readings ({names}) FROM STDIN") as copy:
            for second, power_w, register in READS[1::2]:
                copy.write_row((START + timedelta(seconds=second), 2, 2, power_w, register))
    counted = "SELECT meter_id, count(*) FROM raw_readings WHERE time >= %s GROUP BY 1 ORDER BY 1"
    assert [row["count"] for row in compressed.rows(counted, START)] == [len(READS), len(READS)]


def test_no_limit_on_what_is_decompressed_stops_the_aggregation(compressed: Any) -> None:
    """Without its own setting a claim that changes more than the server's limit would fail for ever (53400)."""
    database = compressed.connection.info.dbname
    compressed.do(f"ALTER DATABASE {database} SET timescaledb.max_tuples_decompressed_per_dml_transaction = 1")
    compressed.store(2, COLUMNS, READS[1::2])
    with psycopg.connect(compressed.dsn, autocommit=True) as worker:
        worker.execute("SET ROLE segs_worker")
        for queue in ("readings", "quarters"):
            worker.execute(f"SELECT aggregate_{queue}(200, %s, true)".encode(), [compressed.now])
    assert compressed.minutes(2) == compressed.minutes(1)
    assert compressed.quarters(2) == compressed.quarters(1)


def test_what_late_readings_fall_between_is_opened_once_and_nothing_else(compressed: Any) -> None:
    """TimescaleDB unpacks a batch for each single row that it checks against it, and limits what a statement opens."""
    compressed.do("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 1")
    compressed.do("SET ROLE segs_ingest")
    hours = (START - timedelta(days=30), START + timedelta(minutes=10), START + timedelta(minutes=20))
    compressed.do("SELECT decompress_readings('{2}', ARRAY[%s], ARRAY[%s])", hours[0], hours[0])
    assert _open_rows(compressed) == []
    compressed.do("SET ROLE segs_ingest")
    compressed.do("SELECT decompress_readings('{2,3}', ARRAY[%s, %s], ARRAY[%s, %s])", *hours[1:] * 2)
    assert _open_rows(compressed) == [{"meter_id": 2, "count": len(READS) // 2}]


def _open_rows(telemetry: Any) -> list[Any]:
    """Rows by meter that are beside what is compressed."""
    telemetry.do("RESET ROLE")
    [chunk] = telemetry.rows("SELECT show_chunks('raw_readings')::text AS name")
    query = f"SELECT meter_id, count(*) FROM ONLY {chunk['name']} GROUP BY 1"
    telemetry.do("SET timescaledb.enable_transparent_decompression = off")
    return telemetry.rows(query)


def test_edits_of_compressed_intervals_are_kept(compressed: Any) -> None:
    edit = "UPDATE aggregates_15m SET quality = 8 WHERE meter_id = 1 AND bucket = %s"
    compressed.do(edit, START + timedelta(minutes=15))
    _compress(compressed)
    assert [row["quality"] for row in compressed.quarters(1)][:3] == [14, 8, 14]


def test_a_chunk_with_late_rows_is_compressed_whole_again(compressed: Any) -> None:
    compressed.store(2, COLUMNS, READS[1::2])
    partly = "SELECT count(*) FROM _timescaledb_catalog.chunk WHERE status & 8 > 0 AND compressed_chunk_id IS NOT NULL"
    assert compressed.rows(partly) == [{"count": 1}]
    _compress(compressed)
    assert compressed.rows(partly) == [{"count": 0}]
    counted = "SELECT count(*) FROM raw_readings WHERE meter_id = 2 AND time >= %s"
    assert compressed.rows(counted, START) == [{"count": len(READS)}]


def test_completeness_of_compressed_readings_is_what_it_was_before(telemetry: Any) -> None:
    telemetry.registers(telemetry.meter(), [(s, s) for s in range(3600) if s % 600 > 60])
    query = "SELECT * FROM meter_completeness(%s, %s, true)"
    bounds = (START, START + timedelta(hours=1))
    before = telemetry.rows(query, *bounds)
    _compress(telemetry)
    assert telemetry.rows(query, *bounds) == before != []


@pytest.mark.parametrize("change", ["samples = 1", "energy_import_wh = 0"])
def test_a_wrong_minute_is_found_and_mended_in_compressed_chunks(compressed: Any, change: str) -> None:
    """C14"""
    good = compressed.minutes(1)
    query = "SELECT mismatches FROM reconcile_minutes(%s, %s, %s)"
    window = (START, START + timedelta(hours=1), compressed.now)
    assert compressed.rows(query, *window) == [{"mismatches": 0}]
    compressed.do(f"UPDATE aggregates_1m SET {change} WHERE meter_id = 1 AND bucket = %s", START + timedelta(minutes=4))
    assert compressed.rows(query, *window) == [{"mismatches": 1}]
    compressed.aggregate()
    assert compressed.minutes(1) == good
    assert compressed.rows(query, *window) == [{"mismatches": 0}]


def test_retention_drops_compressed_chunks_once_they_are_computed(compressed: Any) -> None:
    compressed.store(2, COLUMNS, READS[1::2])
    compressed.now = START + timedelta(days=9)
    compressed.do("SET ROLE segs_worker")
    drop = "SELECT dropped FROM drop_expired_chunks(10, %s) AS dropped WHERE dropped LIKE '%%hyper_1_%%'"
    assert compressed.rows(drop, compressed.now) == []
    compressed.aggregate()
    assert len(compressed.rows(drop, compressed.now)) == 1
    compressed.do("RESET ROLE")
    left = "SELECT count(*) FROM _timescaledb_catalog.chunk AS c JOIN _timescaledb_catalog.hypertable AS h"
    of_raw = " ON h.compressed_hypertable_id = c.hypertable_id WHERE h.table_name = 'raw_readings'"
    assert compressed.rows(left + of_raw) == [{"count": 0}]
    assert compressed.minutes(2) == compressed.minutes(1) != []


def test_a_refresh_of_cagg_1m_learns_of_late_readings_in_compressed_chunks(compressed: Any) -> None:
    refresh = "CALL refresh_continuous_aggregate('cagg_1m', %s, %s)"
    window = (START, START + timedelta(hours=2))
    compressed.do(refresh, *window)
    compressed.store(2, COLUMNS, READS[1::2])
    compressed.do(refresh, *window)
    minutes = "SELECT bucket, samples, power_w_sum FROM cagg_1m WHERE meter_id = %s AND bucket >= %s ORDER BY 1"
    assert compressed.rows(minutes, 2, START) == compressed.rows(minutes, 1, START) != []
