"""What the hot statements look at: by index, and only the chunks that their bounds of time leave."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from cloud.db.queries import Queries
from local.servers import PostgresServer

NOW = datetime(2026, 3, 20, 12, 0, 6, tzinfo=UTC)
DAY, MINUTE, QUARTER = timedelta(days=1), timedelta(minutes=1), timedelta(minutes=15)
METERS = 1500
_EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_format = 'json';
SET auto_explain.log_level = 'notice';
"""
# As retention leaves them: of the rows of each day a few of each meter, so that an index is worth its while.
_FILL = """
INSERT INTO gateway_registry (gateway_id, name) VALUES (1, 'attic');
INSERT INTO region_registry (region, capacity_w) SELECT 'region-' || n, 1000 FROM generate_series(0, 99) AS n;
INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms)
SELECT 1, 'd' || m, m, 'MTR-' || lpad(m::text, 8, '0'), 'region-' || m % 100, 'UTC', 10000
FROM generate_series(1, {meters}) AS m;
INSERT INTO raw_readings (time, meter_id, batch_id, power_w, energy_import_wh)
SELECT d + s * INTERVAL '10 seconds', m, 1, 100, 1000 * (extract(day FROM d)::integer * 10) + s
FROM generate_series({now} - INTERVAL '6 days', {now}, INTERVAL '1 day') AS d, generate_series(-18, -1) AS s,
     generate_series(1, {meters}) AS m;
INSERT INTO aggregates_1m (meter_id, bucket, samples, coverage, quality)
SELECT m, d - s * INTERVAL '1 minute', 6, 100, 14
FROM generate_series({minute} - INTERVAL '12 days', {minute} - INTERVAL '1 day', INTERVAL '1 day') AS d,
     generate_series(1, 2) AS s, generate_series(1, {meters}) AS m;
INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality)
SELECT m, d, 6, 100, 14
FROM generate_series({minute} - INTERVAL '40 days', {minute} - INTERVAL '1 day', INTERVAL '1 day') AS d,
     generate_series(1, {meters}) AS m;
INSERT INTO regional_15m (region, bucket, meters, meters_expected, coverage, quality)
SELECT 'region-' || n, b, 10, 10, 100, 14
FROM generate_series({minute} - INTERVAL '120 days', {minute} - INTERVAL '1 day', INTERVAL '1 day') AS b,
     generate_series(0, 99) AS n;
ANALYZE;
"""
# Of each of 60 blocks a thousand minutes that are due.
_BACKLOG = """
INSERT INTO dirty_meters (resolution_min, block, meters, first_time, last_time, due_at)
SELECT 1, b, ARRAY[b * 4096 + 1], t, t, t
FROM generate_series(1000, 1059) AS b, generate_series(1, 1000) AS s, date_add(%(now)s, -s * INTERVAL '1 minute') AS t
"""


@dataclass(frozen=True)
class Looked:
    """A scan of a chunk: of which table, from when to when the chunk is, and how."""

    table: str
    begins: datetime
    ends: datetime
    how: str


Plans = Callable[[psycopg.sql.SQL | str, dict[str, Any]], list[dict[str, Any]]]
Explained = Callable[[psycopg.sql.SQL | str, dict[str, Any]], list[Looked]]


@pytest.fixture(scope="module")
def filled(pg_server: PostgresServer, telemetry_template: str) -> Iterator[psycopg.Connection]:
    name = f"plans_{uuid.uuid4().hex}"
    with psycopg.connect(pg_server.dsn(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {telemetry_template}")
        with psycopg.connect(pg_server.dsn(name), autocommit=True) as connection:
            minute = NOW - timedelta(seconds=6)
            connection.execute(
                _FILL.format(meters=METERS, now=f"'{NOW}'::timestamptz", minute=f"'{minute}'::timestamptz")
            )
            connection.execute(_EXPLAIN)
            yield connection
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def plans(filled: psycopg.Connection) -> Iterator[Plans]:
    """Runs a statement and gives all nodes of its plan and of those in functions that it calls. Nothing of it stays."""
    said: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        said.append(notice.message_primary or "")

    def explain(statement: Any, given: dict[str, Any]) -> list[dict[str, Any]]:
        said.clear()
        filled.execute(statement, given)
        # A plan is told when its portal is closed, which the next statement does.
        filled.execute("SELECT")
        found = [json.loads(text.partition("plan:\n")[2]) for text in said if "plan:\n" in text]
        return [node for plan in found for node in _nodes(plan["Plan"])]

    filled.add_notice_handler(hear)
    with filled.transaction(force_rollback=True):
        yield explain
    filled.remove_notice_handler(hear)


@pytest.fixture
def explained(filled: psycopg.Connection, plans: Plans) -> Explained:
    """Runs a statement and gives all scans of chunks in it and in the functions that it calls."""

    def explain(statement: Any, given: dict[str, Any]) -> list[Looked]:
        nodes = plans(statement, given)
        chunks = {row[0]: row[1:] for row in filled.execute(_CHUNKS)}
        return [
            Looked(*chunks[node["Relation Name"]], how=node["Node Type"])
            for node in nodes
            if node.get("Relation Name") in chunks and node["Node Type"] != "ModifyTable"
        ]

    return explain


_CHUNKS = "SELECT chunk_name, hypertable_name, range_start, range_end FROM timescaledb_information.chunks"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _within(looked: list[Looked], table: str, first: datetime, last: datetime) -> None:
    """Some scan of `table`, each by index, and none outside these times."""
    of_table = [scan for scan in looked if scan.table == table]
    assert of_table
    assert {scan.how for scan in of_table} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Bitmap Index Scan"}
    assert [scan for scan in of_table if scan.ends <= first or scan.begins > last] == []


def _mark(connection_statement: Explained, resolution_min: int, first: datetime, last: datetime) -> None:
    meters = "ARRAY(SELECT generate_series(4096, 4572))"
    connection_statement(
        f"SELECT mark_meters(%(resolution)s, {meters}, %(first)s, %(last)s, %(first)s)",
        {"resolution": resolution_min, "first": first, "last": last},
    )


def test_a_mark_looks_at_nothing_that_is_stored(plans: Plans) -> None:
    meters = list(range(4096, 4572))
    given = {"meters": meters, "first": NOW - MINUTE, "last": NOW}

    nodes = plans("SELECT mark_meters(1, %(meters)s, %(first)s, %(last)s, %(last)s)", given)

    assert [node["Relation Name"] for node in nodes if "Relation Name" in node] == ["dirty_meters"]
    [written] = [node for node in nodes if node["Node Type"] == "ModifyTable"]
    assert written["Operation"] == "Insert"


def test_the_marks_of_a_block_are_claimed_by_index(plans: Plans) -> None:
    """The queue is gone through once, for the block that has waited longest."""
    plans(_BACKLOG, {"now": NOW})
    plans("ANALYZE dirty_meters", {})

    nodes = plans("SELECT claim_marks(1, 500, %(until)s)", {"until": NOW})

    looked = [node for node in nodes if "Relation Name" in node and node["Node Type"] != "ModifyTable"]
    assert {node["Relation Name"] for node in looked} == {"dirty_meters"}
    assert {node["Index Name"] for node in nodes if "Index Name" in node} == {
        "dirty_meters_block_idx",
        "dirty_meters_pkey",
    }
    assert [node["Node Type"] for node in looked].count("Seq Scan") <= 1


def test_the_latest_reading_is_found_in_the_newest_chunks(explained: Explained) -> None:
    """C10"""
    looked = explained(Queries("telemetry")["latest"], {"meter_id": 1500, "since": NOW - DAY})

    _within(looked, "raw_readings", NOW - DAY, NOW)


@pytest.mark.parametrize(
    ("resolution", "table", "span"), [("1m", "aggregates_1m", DAY), ("15m", "aggregates_15m", 30 * DAY)]
)
def test_intervals_of_a_meter_are_looked_for_in_their_days(
    explained: Explained, resolution: str, table: str, span: timedelta
) -> None:
    to = NOW.replace(minute=0, second=0)

    looked = explained(
        Queries("telemetry")["intervals"], {"meter_id": 1500, "from": to - span, "to": to, "resolution": resolution}
    )

    _within(looked, table, to - span, to)


def test_quarter_hours_of_all_regions_are_looked_for_in_their_month(explained: Explained) -> None:
    looked = explained(Queries("telemetry")["regions"], {"from": NOW - DAY - QUARTER, "to": NOW})

    assert {scan.table for scan in looked} == {"regional_15m"}
    assert [scan for scan in looked if scan.ends <= NOW - DAY - QUARTER] == []


def test_minutes_are_computed_from_their_own_chunks_and_those_within_reach(explained: Explained) -> None:
    """Only a meter that was not read beside the span is looked for farther off, for a week."""
    _mark(explained, 1, NOW - 2 * MINUTE, NOW - 2 * MINUTE)

    looked = explained(Queries("aggregate")["aggregate_readings"], {"limit": 500, "now": NOW, "early": False})

    _within(looked, "raw_readings", NOW - 3 * MINUTE - 7 * DAY, NOW + 7 * DAY)
    assert [scan for scan in looked if scan.table == "aggregates_1m" and scan.ends < NOW] == []


def test_energy_in_doubt_is_booked_from_a_fortnight_on_either_side(explained: Explained) -> None:
    _mark(explained, 1, NOW - DAY - 2 * MINUTE, NOW - DAY - 2 * MINUTE)

    looked = explained(Queries("aggregate")["aggregate_readings"], {"limit": 500, "now": NOW, "early": False})

    _within(looked, "raw_readings", NOW - 15 * DAY - 3 * MINUTE, NOW + 14 * DAY)
    _within(looked, "aggregates_1m", NOW - 15 * DAY - 3 * MINUTE, NOW + 14 * DAY)


def test_quarter_hours_are_computed_from_their_own_day(explained: Explained) -> None:
    _mark(explained, 15, NOW - 3 * DAY, NOW - 3 * DAY)

    looked = explained(Queries("aggregate")["aggregate_quarters"], {"limit": 500, "now": NOW, "early": False})

    _within(looked, "aggregates_1m", NOW - 3 * DAY - QUARTER, NOW - 3 * DAY + QUARTER)


def test_regions_are_summed_from_their_own_day(explained: Explained) -> None:
    bucket = (NOW - 3 * DAY).replace(minute=0, second=0)
    explained("INSERT INTO dirty_regions (region, bucket) VALUES ('region-7', %(bucket)s)", {"bucket": bucket})

    looked = explained(Queries("aggregate")["aggregate_regions"], {"limit": 500, "now": NOW, "early": False})

    _within(looked, "aggregates_15m", bucket, bucket)


def test_what_is_compared_is_of_the_time_compared(explained: Explained) -> None:
    first, last = NOW - DAY - 2 * MINUTE, NOW - DAY

    looked = explained(Queries("reconcile")["reconcile_minutes"], {"from": first, "to": last, "now": NOW})

    assert looked
    assert [scan for scan in looked if scan.ends <= first or scan.begins > last] == []


def test_completeness_looks_at_the_time_asked_for(explained: Explained) -> None:
    first, last = NOW - DAY - 2 * MINUTE, NOW - DAY

    looked = explained(Queries("completeness")["meters"], {"from": first, "to": last, "whole": False})

    assert looked
    assert [scan for scan in looked if scan.ends <= first - 7 * DAY or scan.begins > last + 7 * DAY] == []


def test_retention_reads_nothing_that_is_stored(explained: Explained) -> None:
    looked = explained(Queries("retention")["drop_expired_chunks"], {"limit": 3, "now": NOW})
    looked += explained(Queries("retention")["create_chunks_ahead"], {"now": NOW})

    assert [scan for scan in looked if scan.begins <= NOW] == []


def test_rows_that_are_there_already_are_looked_for_in_their_day(explained: Explained) -> None:
    """Of some there already, a batch is merged by a temporary table."""
    first, last = NOW - MINUTE, NOW
    explained(Queries("ingest")["incoming_create"], {})
    explained(
        "INSERT INTO incoming SELECT * FROM raw_readings WHERE time >= %(first)s AND meter_id < 100", {"first": first}
    )
    explained("ANALYZE incoming", {})

    for statement in ("incoming_store", "incoming_lacking", "incoming_conflicts"):
        looked = explained(Queries("ingest")[statement], {"first": first, "last": last})
        assert [scan for scan in looked if scan.ends <= first or scan.begins > last] == []


_READS = {
    "latest": ("SELECT * FROM latest_values(ARRAY[1500, 7], %(from)s, %(to)s)", "raw_readings", DAY),
    "readings": ("SELECT * FROM meter_readings(1500, %(from)s, %(to)s)", "raw_readings", DAY),
    "raw": ("SELECT * FROM meter_history(1500, %(from)s, %(to)s, 'raw')", "raw_readings", DAY),
    "minutes": ("SELECT * FROM meter_history(1500, %(from)s, %(to)s, '1m')", "aggregates_1m", 2 * DAY),
    "quarter-hours": ("SELECT * FROM meter_history(1500, %(from)s, %(to)s, '15m')", "aggregates_15m", 8 * DAY),
    "days": ("SELECT * FROM meter_history(1500, %(from)s, %(to)s, '1d')", "aggregates_15m", 8 * DAY),
    "channels of minutes": ("SELECT * FROM meter_channels(1500, %(from)s, %(to)s, '1m')", "aggregates_1m", 2 * DAY),
    "channels of hours": ("SELECT * FROM meter_channels(1500, %(from)s, %(to)s, '1h')", "aggregates_15m", 8 * DAY),
    "statistics": ("SELECT * FROM meter_statistics(1500, %(from)s, %(to)s, %(to)s)", "aggregates_15m", 8 * DAY),
    "energy": ("SELECT * FROM meter_energy(1500, %(from)s, %(to)s, '1d')", "aggregates_15m", 8 * DAY),
    "two periods": (
        "SELECT * FROM compare_periods(1500, %(from)s, %(from)s + INTERVAL '1 day', %(from)s, %(to)s, %(to)s)",
        "aggregates_15m",
        8 * DAY,
    ),
    "top consumers": ("SELECT * FROM top_consumers('region-7', %(from)s, %(to)s)", "aggregates_15m", 8 * DAY),
    "region": ("SELECT * FROM region_history('region-7', %(from)s, %(to)s)", "regional_15m", 8 * DAY),
    "regions": ("SELECT * FROM region_statistics('{region-7,region-8}', %(to)s)", "regional_15m", DAY),
    "completeness": ("SELECT * FROM completeness_summary(1500, %(from)s, %(to)s, %(to)s)", "raw_readings", DAY),
}


@pytest.mark.parametrize("read", _READS)
@pytest.mark.parametrize("planned", ["force_custom_plan", "force_generic_plan"])
def test_what_the_api_asks_is_found_by_index_in_its_own_time(explained: Explained, read: str, planned: str) -> None:
    """Statements of functions are planned for their parameters, or once for all: neither may look farther."""
    statement, table, span = _READS[read]
    to = NOW.replace(minute=0, second=0) - DAY
    explained(f"SET LOCAL plan_cache_mode = {planned}", {})
    explained("SELECT set_config('segs.grants', '{\"all\": true}', true)", {})

    looked = explained(statement, {"from": to - span, "to": to})

    assert {scan.table for scan in looked} == {table}
    _within(looked, table, to - span, to)


def test_a_meter_of_many_is_found_by_index_in_the_registry(filled: psycopg.Connection) -> None:
    """Its completeness is asked for by people, of whom there are as many as meters."""
    with filled.transaction(force_rollback=True):
        filled.execute("SELECT set_config('segs.grants', '{\"all\": true}', true)")
        before = filled.execute(_SCANS).fetchone()
        filled.execute("SELECT * FROM completeness_summary(1500, %s, %s, %s)", [NOW - DAY, NOW, NOW])
        after = filled.execute(_SCANS).fetchone()
    assert after == before


_SCANS = "SELECT pg_stat_get_xact_numscans('device_registry'::regclass)"
