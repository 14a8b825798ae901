"""The API reads what its caller was granted and nothing else, and by no other way than the functions made for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from cloud.schema.apply import apply
from cloud.schema.connection import connect, run
from cloud.schema.loader import Script
from tests.sql.conftest import START, Telemetry
from tests.sql.quarters import QUARTER, put
from tests.sql.reads import ALL, Reader, owned
from tests.sql.test_schema_migrations import BASELINE

HOUR = timedelta(hours=1)
END = START + HOUR
# Every function that takes a meter and a span.
READS = {
    "latest_values": "SELECT * FROM latest_values(ARRAY[%s], %s, %s)",
    "meter_history of readings": "SELECT * FROM meter_history(%s, %s, %s, 'raw')",
    "meter_history of minutes": "SELECT * FROM meter_history(%s, %s, %s, '1m')",
    "meter_history of quarter-hours": "SELECT * FROM meter_history(%s, %s, %s, '15m')",
    "meter_history of hours": "SELECT * FROM meter_history(%s, %s, %s, '1h')",
    "meter_history of days": "SELECT * FROM meter_history(%s, %s, %s, '1d')",
    "meter_readings": "SELECT * FROM meter_readings(%s, %s, %s)",
    "meter_channels of minutes": "SELECT * FROM meter_channels(%s, %s, %s, '1m')",
    "meter_channels of days": "SELECT * FROM meter_channels(%s, %s, %s, '1d')",
    "meter_statistics": f"SELECT * FROM meter_statistics(%s, %s, %s, '{END + 6 * HOUR}')",
    "compare_periods": "SELECT c.* FROM (VALUES (%s::integer, %s::timestamptz, %s::timestamptz)) AS v (meter, lo, hi)"
    " CROSS JOIN LATERAL compare_periods(meter, lo, hi, lo, hi, '2026-03-02T00:00Z') AS c",
    "meter_energy": "SELECT * FROM meter_energy(%s, %s, %s, '1d')",
    "segment_energy": "SELECT * FROM segment_energy(%s, ARRAY[%s::timestamptz], ARRAY[%s::timestamptz])"
    " WHERE known > 0",
    "completeness_summary": f"SELECT * FROM completeness_summary(%s, %s, %s, '{END + 6 * HOUR}')",
}
# These look for what of a span may be read, and find nothing where it is not.
CLIPPED = {"latest_values", "segment_energy"}


@pytest.fixture
def reader(telemetry: Telemetry) -> Reader:
    return Reader(telemetry)


@pytest.fixture
def meter_id(telemetry: Telemetry) -> int:
    """Read each 10 s for an hour."""
    meter_id = telemetry.meter(interval_s=10)
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, s, 1000 + s) for s in range(0, 3600, 10)])
    telemetry.aggregate()
    return meter_id


def test_who_is_granted_all_of_a_span_reads_it(reader: Reader, meter_id: int) -> None:
    for grants in (ALL, owned(meter_id, (START, END)), owned(meter_id, ("-infinity", START), (START, "infinity"))):
        for read, query in READS.items():
            assert reader.rows(grants, query, meter_id, START, END), read


def test_who_is_granted_nothing_gets_nothing(reader: Reader, meter_id: int) -> None:
    other = meter_id + 1
    always: tuple[Any, Any] = ("-infinity", "infinity")
    for grants in (
        None,
        {},
        {"all": False},
        {"all": "true"},
        {"regions": ["north"]},
        owned(other, always),
        owned(meter_id),
        {str(meter_id): [[None, None]]},
        {str(meter_id): [["-infinity", None]]},
        {str(meter_id): [["infinity", "-infinity"]]},
        {str(meter_id): [["yesterday evening", "infinity"]]},
        {str(meter_id): "always"},
        {str(meter_id): [True]},
        {"meters": owned(meter_id, always)},
    ):
        for read, query in READS.items():
            assert reader.refused(grants, query, meter_id, START, END) == "SG060", (grants, read)


@pytest.mark.parametrize(
    "spans",
    [
        [(START + timedelta(microseconds=1), END)],
        [(START, END - timedelta(microseconds=1))],
        [(START - HOUR, START)],
        [(END, END + HOUR)],
        [(START, START + QUARTER), (START + QUARTER + timedelta(seconds=1), END)],
    ],
)
def test_who_is_granted_a_part_gets_nothing_of_the_whole(
    reader: Reader, meter_id: int, spans: list[tuple[datetime, datetime]]
) -> None:
    for read in READS.keys() - CLIPPED:
        assert reader.refused(owned(meter_id, *spans), READS[read], meter_id, START, END) == "SG060", read


def test_one_meter_of_several_that_is_not_granted_spoils_the_question(reader: Reader, meter_id: int) -> None:
    query = "SELECT * FROM latest_values(%s, %s, %s)"
    grants = owned(meter_id, (START, END))
    assert reader.refused(grants, query, [meter_id, meter_id + 1], START, END) == "SG060"
    assert reader.rows(grants, query, [], START, END) == []


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("regions", "SELECT * FROM region_statistics('{north}', '2026-03-01T13:00Z')"),
        ("regions", "SELECT * FROM region_history('north', '2026-03-01T12:00Z', '2026-03-01T13:00Z')"),
        ("regions", "SELECT * FROM top_consumers('north', '2026-03-01T12:00Z', '2026-03-01T13:00Z')"),
        ("gateways", "SELECT * FROM gateways_heard('{1}')"),
    ],
)
def test_regions_and_gateways_are_granted_by_name(
    telemetry: Telemetry, reader: Reader, meter_id: int, kind: str, query: str
) -> None:
    telemetry.do(
        "INSERT INTO delivery_tallies (gateway_id, batches, readings, last_received_at, last_stream, last_seq)"
        " VALUES (1, 1, 360, now(), gen_random_uuid(), 1)"
    )
    mine, others = {"regions": (["south", "north"], ["south"]), "gateways": ([2, 1], [2])}[kind]
    assert reader.rows({kind: mine}, query) == reader.rows(ALL, query) != []
    for grants in (
        None,
        {},
        {kind: others},
        {kind: []},
        {kind: mine[1]},
        {kind: [mine]},
        {kind: True},
        owned(meter_id, ("-infinity", "infinity")),
    ):
        assert reader.refused(grants, query) == "SG060", grants


def test_one_region_of_several_that_is_not_granted_spoils_the_question(reader: Reader, meter_id: int) -> None:
    query = "SELECT * FROM region_statistics(%s, '2026-03-01T13:00Z')"
    assert reader.refused({"regions": ["north"]}, query, ["north", "south"]) == "SG060"
    assert reader.refused({"regions": ["north"]}, query, None) == "SG060"


def test_grants_end_with_their_transaction(reader: Reader, meter_id: int) -> None:
    query = READS["meter_readings"]
    assert reader.rows(ALL, query, meter_id, START, END)
    assert reader.refused(None, query, meter_id, START, END) == "SG060"


def test_a_setting_that_is_no_json_grants_nothing(telemetry: Telemetry, reader: Reader, meter_id: int) -> None:
    telemetry.do("SET segs.grants = 'all'")
    assert reader.refused(None, READS["meter_readings"], meter_id, START, END) == "SG060"


def test_a_span_without_two_ends_is_refused(reader: Reader, meter_id: int) -> None:
    for span in ((START, START), (END, START), ("-infinity", END), (START, "infinity"), (None, END), (START, None)):
        for read, query in READS.items():
            assert reader.refused(ALL, query, meter_id, *span) == "SG062", (span, read)


def test_the_parts_of_a_span_that_may_be_read_are_told(reader: Reader, meter_id: int) -> None:
    query = "SELECT * FROM readable_spans(%s, %s, %s)"
    mine = owned(meter_id, (START - HOUR, START + QUARTER), (END - QUARTER, "infinity"))
    assert [tuple(row.values()) for row in reader.rows(mine, query, meter_id, START, END)] == [
        (START, START + QUARTER),
        (END - QUARTER, END),
    ]
    assert reader.rows(mine, query, meter_id, START - 3 * HOUR, START - 2 * HOUR) == []
    assert reader.refused({}, query, meter_id, START, END) == "SG060"


def test_the_api_has_no_right_to_any_table(telemetry: Telemetry) -> None:
    found = telemetry.rows(
        "SELECT c.oid::regclass::text AS relation FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'v', 'm', 'p', 'S') AND n.nspname IN ('public', '_timescaledb_internal')"
        " AND (has_table_privilege('segs_api', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
        " OR has_any_column_privilege('segs_api', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))"
        " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
        " AND d.deptype = 'e')"
    )
    assert [row["relation"] for row in found] == ["schema_version"]


def test_chunks_that_were_the_apis_to_read_before_are_so_no_longer(empty_db: str) -> None:
    with connect(empty_db) as connection:
        run(connection, [Script("telemetry-1.sql", (BASELINE / "telemetry-1.sql").read_text())])
        connection.execute("INSERT INTO raw_readings (time, meter_id, batch_id) VALUES ('2026-03-01T00:00Z', 1, 1)")
        [chunk] = connection.execute("SELECT show_chunks('raw_readings')::text").fetchone() or ()
        before = connection.execute("SELECT has_table_privilege('segs_api', %s, 'SELECT')", [chunk]).fetchone()

    apply(empty_db, "telemetry")

    with psycopg.connect(empty_db) as connection:
        after = connection.execute("SELECT has_table_privilege('segs_api', %s, 'SELECT')", [chunk]).fetchone()
    assert (before, after) == ((True,), (False,))


def test_the_api_may_call_what_looks_at_grants_and_what_reads_nothing(telemetry: Telemetry) -> None:
    """All others would fail for want of a right to the tables."""
    found = telemetry.rows(
        "SELECT p.proname AS name, p.prosecdef AS definer FROM pg_proc AS p"
        " CROSS JOIN LATERAL aclexplode(p.proacl) AS g"
        " WHERE p.pronamespace = 'public'::regnamespace AND g.grantee = 'segs_api'::regrole ORDER BY 1"
    )
    assert {row["name"] for row in found if not row["definer"]} == {
        "is_community",
        "latest_granted",
        "require_readable_chunks",
        "resolution_for",
        "retention_horizon",
        "retention_periods",
    }
    assert {row["name"] for row in found if row["definer"]} == {
        "arrivals",
        "arrived",
        "compare_periods",
        "completeness_summary",
        "gateways_heard",
        "latest_values",
        "local_bounds",
        "meter_channels",
        "meter_energy",
        "meter_history",
        "meter_readings",
        "meter_statistics",
        "readable_exchange_reads",
        "readable_last_reads",
        "readable_spans",
        "region_history",
        "region_statistics",
        "segment_energy",
        "top_consumers",
    }


def test_a_new_tenant_never_sees_what_the_old_one_used(telemetry: Telemetry, reader: Reader) -> None:
    """Keys change hands at 7.5 minutes past: the minute and the quarter-hour in which they do are nobody's."""
    meter_id = telemetry.meter(interval_s=10)
    # 1 Wh each 10 s under the old tenant, 10 under the new one.
    moved = START + timedelta(minutes=7, seconds=30)
    reads = [(s, 5000 + (s // 10 if s <= 450 else 45 + (s - 450))) for s in range(0, 3610, 10)]
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, 360 if s < 450 else 3600, wh) for s, wh in reads])
    telemetry.aggregate()
    old, new = owned(meter_id, ("-infinity", moved)), owned(meter_id, (moved, "infinity"))

    def history(grants: dict[str, object], span: tuple[datetime, datetime], resolution: str) -> list[dict[str, Any]]:
        return reader.rows(grants, "SELECT * FROM meter_history(%s, %s, %s, %s)", meter_id, *span, resolution)

    before, after = (START, moved), (moved, END)
    assert [row["start_time"] for row in history(old, before, "raw")][-1] == moved - timedelta(seconds=10)
    raw = history(new, after, "raw")
    assert (raw[0]["start_time"], {row["power_w_max"] for row in raw}) == (moved, {3600})
    minutes = history(old, before, "1m"), history(new, after, "1m")
    assert [row["energy_import_wh"] for row in minutes[0]] == [6] * 7
    assert [row["energy_import_wh"] for row in minutes[1]] == [60] * 52
    assert {row["power_w_min"] for row in minutes[1]} == {3600}
    for resolution in ("15m", "1h", "1d", "1mo"):
        assert history(old, before, resolution) == []
        rows = history(new, after, resolution)
        assert rows[0]["start_time"] == START + QUARTER
        assert sum(row["energy_import_wh"] for row in rows) == 45 * 60
        assert {row["power_w_min"] for row in rows} == {3600}


def test_what_a_span_touches_is_told_whole_where_all_of_it_is_ones_own(reader: Reader, meter_id: int) -> None:
    query = "SELECT * FROM meter_history(%s, %s, %s, '15m')"
    rows = reader.rows(ALL, query, meter_id, START + timedelta(minutes=20), START + timedelta(minutes=31))
    assert [(row["start_time"], row["end_time"]) for row in rows] == [
        (START + n * QUARTER, START + (n + 1) * QUARTER) for n in (1, 2)
    ]


def test_the_newest_reading_is_that_of_ones_own_time(telemetry: Telemetry, reader: Reader, meter_id: int) -> None:
    """A meter that fell silent before the keys changed hands has nothing to tell the new tenant."""
    query = "SELECT meter_id, time, power_w, energy_import_wh FROM latest_values(%s, %s, %s)"
    window = (START - HOUR, END + HOUR)
    left = START + timedelta(minutes=30)
    assert reader.rows(owned(meter_id, ("-infinity", left)), query, [meter_id], *window) == [
        {"meter_id": meter_id, "time": left - timedelta(seconds=10), "power_w": 1790, "energy_import_wh": 2790}
    ]
    assert reader.rows(owned(meter_id, (END, "infinity")), query, [meter_id], *window) == []
    back = owned(meter_id, ("-infinity", START + QUARTER), (END - QUARTER, END), (END + HOUR, "infinity"))
    assert [row["power_w"] for row in reader.rows(back, query, [meter_id], *window)] == [3590]


def test_meters_are_told_once_each_by_their_number(telemetry: Telemetry, reader: Reader) -> None:
    meters = [telemetry.meter() for _ in range(3)]
    for meter_id in meters[::-1]:
        telemetry.store(meter_id, ["power_w"], [(0, 1), (5, meter_id)])
    rows = reader.rows(ALL, "SELECT * FROM latest_values(%s, %s, %s)", meters[::-1] + meters, START, END)
    assert [(row["meter_id"], row["power_w"]) for row in rows] == [(meter_id, meter_id) for meter_id in meters]


@pytest.mark.parametrize(
    ("span", "pixels", "resolution"),
    [
        (timedelta(minutes=10), 800, "raw"),
        (timedelta(seconds=1600), 800, "raw"),
        (timedelta(seconds=1601), 800, "1m"),
        (timedelta(days=1), 800, "1m"),
        (timedelta(days=1), 400, "15m"),
        (timedelta(days=7), 400, "15m"),
        (timedelta(days=10), 400, "1h"),
        (timedelta(days=31), 800, "1h"),
        (timedelta(days=90), 800, "1d"),
        (timedelta(days=3650), 1, "1d"),
    ],
)
def test_a_chart_has_at_most_two_points_a_pixel(reader: Reader, span: timedelta, pixels: int, resolution: str) -> None:
    now = datetime(2026, 3, 20, tzinfo=UTC)
    query = "SELECT resolution_for(%s, %s, %s, %s) AS resolution"
    assert reader.rows(None, query, now - span, now, pixels, now) == [{"resolution": resolution}]


def test_a_chart_of_old_times_has_the_resolution_that_is_kept(reader: Reader) -> None:
    now = datetime(2026, 3, 20, tzinfo=UTC)
    query = "SELECT resolution_for(%s, %s, 800, %s) AS resolution"
    for days, resolution in ((6, "raw"), (8, "1m"), (31, "15m"), (300, "15m")):
        begin = now - timedelta(days=days)
        assert reader.rows(None, query, begin, begin + timedelta(minutes=5), now) == [{"resolution": resolution}]


def test_a_long_history_is_read_in_portions(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, START, range(100))
    query = "SELECT start_time, end_time, energy_import_wh FROM meter_history(%s, %s, %s, '15m', NULL, 40)"
    begin, found = START, []
    while rows := reader.rows(ALL, query, meter_id, begin, START + timedelta(days=2)):
        found += [row["energy_import_wh"] for row in rows]
        begin = rows[-1]["end_time"]
    assert found == list(range(100))
