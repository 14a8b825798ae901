"""What the API tells of regions: loads, sums, and who takes the most while they belong to it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.sql.conftest import Telemetry
from tests.sql.quarters import DAY, QUARTER, SUNDAY, put
from tests.sql.reads import Reader

NORTH = {"regions": ["north"]}
NOW = SUNDAY + DAY + timedelta(minutes=7)
STATISTICS = "SELECT * FROM region_statistics(%s, %s)"
TOP = "SELECT nth, meter_id, energy_import_wh, share_percent, missing FROM top_consumers(%s, %s, %s, %s)"


@pytest.fixture
def reader(telemetry: Telemetry) -> Reader:
    return Reader(telemetry)


def _sum(telemetry: Telemetry, first: datetime, last: datetime) -> None:
    telemetry.do("SELECT mark_silent_regions(%s, %s)", first, last)
    telemetry.now = last
    telemetry.aggregate()


def test_a_region_is_told_now_by_the_hour_and_by_the_day(telemetry: Telemetry, reader: Reader) -> None:
    for power in (100, 300):
        meter_id = telemetry.meter()
        put(telemetry, meter_id, SUNDAY, [power // 4 if n < 95 else power for n in range(96)])
    telemetry.meter()  # which nobody ever heard
    _sum(telemetry, SUNDAY, SUNDAY + DAY)
    latest, hour, day = reader.rows(NORTH, STATISTICS, ["north"], NOW)
    assert [row["period"] for row in (latest, hour, day)] == ["latest", "hour", "day"]
    assert (latest["start_time"], latest["end_time"]) == (SUNDAY + DAY - QUARTER, SUNDAY + DAY)
    assert (hour["start_time"], day["start_time"]) == (SUNDAY + 92 * QUARTER, SUNDAY)
    assert {(row["meters_active"], row["meters_expected"], row["capacity_w"]) for row in (latest, hour, day)} == {
        (2, 3, 100_000)
    }
    assert [row["energy_import_wh"] for row in (latest, hour, day)] == [400, 700, 95 * 100 + 400]
    assert [row["load_percent"] for row in (latest, hour)] == [pytest.approx(1.6), pytest.approx((3 * 0.4 + 1.6) / 4)]
    assert [row["load_percent_max"] for row in (latest, hour, day)] == [pytest.approx(1.6)] * 3
    assert {row["load_percent_max_at"] for row in (latest, hour, day)} == {SUNDAY + 95 * QUARTER}
    assert [row["quarters"] for row in (latest, hour, day)] == [1, 4, 96]
    assert [row["coverage"] for row in (latest, hour, day)] == [pytest.approx(200 / 3, rel=1e-6)] * 3


def test_a_region_that_fell_silent_tells_its_silence(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [25] * 48)
    _sum(telemetry, SUNDAY, SUNDAY + DAY)
    latest, hour, day = reader.rows(NORTH, STATISTICS, ["north"], NOW)
    assert (latest["meters_active"], latest["load_percent"], latest["coverage"]) == (0, None, 0)
    assert (hour["energy_import_wh"], day["energy_import_wh"]) == (None, 48 * 25)
    assert day["coverage"] == 50


def test_a_region_of_which_nothing_is_known_has_no_row(telemetry: Telemetry, reader: Reader) -> None:
    assert reader.rows(NORTH, STATISTICS, ["north"], NOW) == []


def test_the_quarter_hour_that_runs_is_not_told_yet(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [25] * 97)
    _sum(telemetry, SUNDAY, SUNDAY + DAY + QUARTER)
    assert reader.rows(NORTH, STATISTICS, ["north"], NOW)[0]["end_time"] == SUNDAY + DAY
    assert reader.rows(NORTH, STATISTICS, ["north"], SUNDAY + DAY + QUARTER)[0]["end_time"] == SUNDAY + DAY + QUARTER


def test_a_history_of_a_region_is_its_quarter_hours(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, range(96))
    _sum(telemetry, SUNDAY, SUNDAY + DAY)
    query = "SELECT start_time, energy_import_wh FROM region_history('north', %s, %s, %s)"
    rows = reader.rows(NORTH, query, SUNDAY + QUARTER, SUNDAY + DAY, 3)
    assert [tuple(row.values()) for row in rows] == [(SUNDAY + n * QUARTER, n) for n in (1, 2, 3)]
    assert reader.refused(NORTH, query, SUNDAY, SUNDAY, 3) == "SG062"


def test_who_takes_the_most_comes_first(telemetry: Telemetry, reader: Reader) -> None:
    meters = [telemetry.meter() for _ in range(4)]
    telemetry.do("INSERT INTO region_registry (region) VALUES ('south')")
    elsewhere = telemetry.meter(region="south")
    for meter_id, wh in zip([*meters[:3], elsewhere], (10, 30, 10, 1000), strict=True):
        put(telemetry, meter_id, SUNDAY, [wh] * 4)
    telemetry.do("SELECT interval_edit(%s, %s, '{60}', NULL, 'why', 'ada', %s)", meters[2], [SUNDAY + 2 * QUARTER], NOW)
    rows = reader.rows(NORTH, TOP, "north", SUNDAY, SUNDAY + 5 * QUARTER, 2)
    assert [tuple(row.values()) for row in rows] == [
        (1, meters[1], 120, pytest.approx(100 * 120 / 250), 1),
        (2, meters[2], 90, pytest.approx(100 * 90 / 250), 1),
    ]
    assert len(reader.rows(NORTH, TOP, "north", SUNDAY, SUNDAY + 5 * QUARTER, 10)) == 3


def test_a_meter_counts_while_it_belongs_to_the_region(telemetry: Telemetry, reader: Reader) -> None:
    """A quarter-hour belongs where the meter was when it began."""
    telemetry.do("INSERT INTO region_registry (region) VALUES ('south')")
    meter_id = telemetry.meter()
    moved = SUNDAY + 4 * QUARTER + timedelta(minutes=1)
    telemetry.do("UPDATE device_registry SET valid = tstzrange('-infinity', %s)", moved)
    telemetry.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
        " SELECT gateway_id, device, meter_id, meter_code, 'south', timezone, interval_ms, tstzrange(%s, 'infinity')"
        " FROM device_registry",
        moved,
    )
    put(telemetry, meter_id, SUNDAY, [1, 1, 1, 1, 10, 100, 100])
    span = (SUNDAY, SUNDAY + 7 * QUARTER)
    assert [row["energy_import_wh"] for row in reader.rows(NORTH, TOP, "north", *span, 9)] == [14]
    assert [row["energy_import_wh"] for row in reader.rows({"regions": ["south"]}, TOP, "south", *span, 9)] == [200]


def test_all_meters_of_a_region_are_added_up_for_a_month_at_most(telemetry: Telemetry, reader: Reader) -> None:
    assert reader.refused(NORTH, TOP, "north", SUNDAY, SUNDAY + 31 * DAY + QUARTER, 9) == "SG063"
    assert reader.rows(NORTH, TOP, "north", SUNDAY, SUNDAY + 31 * DAY, 9) == []


def test_a_gateway_that_was_heard_tells_what_it_delivered(telemetry: Telemetry, reader: Reader) -> None:
    telemetry.do("INSERT INTO gateway_registry (gateway_id, name) VALUES (2, 'barn'), (3, 'cellar')")
    at = datetime(2026, 3, 1, tzinfo=UTC)
    telemetry.do(
        "INSERT INTO delivery_tallies (gateway_id, batches, readings, last_received_at, last_stream, last_seq)"
        " VALUES (1, 2, 20, %s, gen_random_uuid(), 2), (1, 1, 5, %s, gen_random_uuid(), 3),"
        " (2, 9, 9, %s, gen_random_uuid(), 9)",
        *(at, at + timedelta(seconds=1), at),
    )
    query = "SELECT gateway_id, batches, readings, last_seq, last_report_at FROM gateways_heard(%s)"
    rows = reader.rows({"gateways": [1, 3]}, query, [1, 3, 1])
    assert [tuple(row.values()) for row in rows] == [(1, 3, 25, 3, None)]
