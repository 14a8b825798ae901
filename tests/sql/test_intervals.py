"""Intervals at any resolution: they add up, whatever the zone, and are read by index, from their own chunks alone."""

import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.conftest import Telemetry
from tests.sql.quarters import DAY, QUARTER, SUNDAY, effective, intervals, put

GREEN_BUTTON = Path(__file__).parents[3] / "shared/data/greenbutton/openespi_test_usage_data_14days.xml"
ESPI = "{http://naesb.org/espi}"


def _midnight(year: int, month: int, day: int, zone: str) -> datetime:
    return datetime(year, month, day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/Havana", (2020, 11, 1), 25),  # midnight comes twice
        ("America/Santiago", (2026, 9, 6), 23),  # midnight does not come
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("Asia/Kathmandu", (2026, 3, 29), 24),  # 5 h 45 min ahead
        ("Australia/Adelaide", (2026, 4, 5), 25),  # 9 h 30 min ahead
    ],
)
def test_a_local_day_has_the_hours_that_clocks_give_it(
    telemetry: Telemetry, zone: str, day: tuple[int, int, int], hours: float
) -> None:
    meter_id = telemetry.meter()
    begin = datetime(*day, tzinfo=UTC) - 2 * DAY
    put(telemetry, meter_id, begin, [1] * 96 * 5)
    rows = intervals(telemetry, [meter_id], begin, begin + 5 * DAY, "1d", zone)
    found = [row for row in rows if row["start_time"].astimezone(ZoneInfo(zone)).date() == datetime(*day).date()]
    assert [row["end_time"] - row["start_time"] for row in found] == [timedelta(hours=hours)]
    assert [(row["energy_import_wh"], row["missing"]) for row in found] == [(hours * 4, 0)]
    assert [row["start_time"] for row in rows[1:]] == [row["end_time"] for row in rows[:-1]]


@pytest.mark.skipif(not GREEN_BUTTON.exists(), reason=f"{GREEN_BUTTON} is not there")
def test_a_billing_period_across_a_change_of_the_clock_is_what_its_file_states(telemetry: Telemetry) -> None:
    readings = [
        (int(reading.findtext(f".//{ESPI}start") or 0), int(reading.findtext(f"{ESPI}value") or 0))
        for reading in ElementTree.parse(GREEN_BUTTON).iter(f"{ESPI}IntervalReading")
    ]
    begin = datetime.fromtimestamp(1330578000, UTC)
    end = begin + timedelta(seconds=1119600)
    meter_id = telemetry.meter()
    put(telemetry, meter_id, begin, [value for _, value in sorted(readings)])
    for resolution in ("15m", "1h", "1d", "1mo"):
        rows = intervals(telemetry, [meter_id], begin, end, resolution, "America/New_York")
        assert sum(row["energy_import_wh"] for row in rows) == 1_298_640
    days = intervals(telemetry, [meter_id], begin, end, "1d", "America/New_York")
    assert [row["energy_import_wh"] for row in days if row["end_time"] - row["start_time"] == timedelta(hours=23)] == [
        109_403
    ]


@given(
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham"]),
    values=st.lists(st.one_of(st.none(), st.integers(0, 10_000)), min_size=200, max_size=400),
    skipped=st.integers(0, 90),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hours_days_and_months_add_up_to_the_quarter_hours(
    telemetry: Telemetry, zone: str, values: list[int | None], skipped: int
) -> None:
    meter_id = telemetry.meter()
    begin = datetime(2026, 3, 27, 13, tzinfo=UTC)
    put(telemetry, meter_id, begin + skipped * QUARTER, values)
    sums = set()
    for resolution in ("15m", "1h", "1d", "1mo"):
        rows = intervals(telemetry, [meter_id], begin, begin + 6 * DAY, resolution, zone)
        quarters = sum((row["end_time"] - row["start_time"]) // QUARTER - row["missing"] for row in rows)
        sums.add((sum(row["energy_import_wh"] or 0 for row in rows), quarters, sum(row["version"] for row in rows)))
    assert sums == {(sum(value or 0 for value in values), len(values), len(values))}


def test_the_mean_of_an_hour_is_that_of_its_readings(telemetry: Telemetry) -> None:
    """C9: not a mean of means; C5: zero watts count."""
    meter_id = telemetry.meter()
    power = {
        "power_w_count": [1, 3, 0, 2],
        "power_w_sum": [100.0, 0.0, None, 20.0],
        "power_w_min": [100.0, 0.0, None, 5.0],
        "power_w_max": [100.0, 0.0, None, 15.0],
    }
    put(telemetry, meter_id, SUNDAY, [5, 0, None, 7], **power)
    [hour] = intervals(telemetry, [meter_id], SUNDAY, SUNDAY + DAY, "1h")
    assert [hour[f"power_w_{name}"] for name in ("mean", "min", "max")] == [20, 0, 100]
    assert hour["energy_import_wh"] == 12


def test_an_interval_has_the_worst_quality_and_the_coverage_of_all_its_time(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [1])
    put(telemetry, meter_id, SUNDAY + QUARTER, [1], samples=0, quality=9)
    [hour] = intervals(telemetry, [meter_id], SUNDAY, SUNDAY + DAY, "1h")
    assert (hour["quality"], hour["coverage"], hour["missing"]) == (9, 25, 2)


def test_days_follow_a_meter_that_moves_to_another_zone(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    noon = SUNDAY + timedelta(hours=12, minutes=7)
    telemetry.do("UPDATE device_registry SET valid = tstzrange('-infinity', %s) WHERE meter_id = %s", noon, meter_id)
    telemetry.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
        " VALUES (1, 'd1', %s, 'MTR-00000001', 'north', 'Asia/Kathmandu', 1000, tstzrange(%s, 'infinity'))",
        *(meter_id, noon),
    )
    put(telemetry, meter_id, SUNDAY, [1] * 192)
    rows = intervals(telemetry, [meter_id], SUNDAY, SUNDAY + 2 * DAY, "1d")
    assert [(row["start_time"] - SUNDAY) / QUARTER for row in rows] == [0, 49, 73, 169]
    assert [row["energy_import_wh"] for row in rows] == [49, 24, 96, 23]


def test_many_meters_are_asked_at_once_each_with_its_own_zone(telemetry: Telemetry) -> None:
    here, there = telemetry.meter(), telemetry.meter()
    telemetry.do("UPDATE device_registry SET timezone = 'America/New_York' WHERE meter_id = %s", there)
    for meter_id in (here, there):
        put(telemetry, meter_id, SUNDAY, [1] * 96)
    rows = intervals(telemetry, [here, there], SUNDAY, SUNDAY + DAY, "1d")
    assert [(row["meter_id"], row["energy_import_wh"]) for row in rows] == [(here, 96), (there, 20), (there, 76)]


@pytest.mark.parametrize("resolution", ["15m", "1h", "1d"])
def test_a_meter_that_is_named_twice_has_its_energy_once(telemetry: Telemetry, resolution: str) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [10] * 96)
    for zone in (None, "Asia/Kathmandu"):
        twice = intervals(telemetry, [meter_id, meter_id], SUNDAY, SUNDAY + DAY, resolution, zone)
        assert twice == intervals(telemetry, [meter_id], SUNDAY, SUNDAY + DAY, resolution, zone)
        assert sum(row["energy_import_wh"] for row in twice) == 960


def test_minutes_are_shown_as_they_were_computed(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["power_w", "energy_import_wh"], [(s, 60.0, s) for s in range(120)])
    telemetry.aggregate()
    rows = intervals(telemetry, [meter_id], SUNDAY, SUNDAY + DAY, "1m")
    assert [(row["energy_import_wh"], row["power_w_mean"]) for row in rows] == [(60, 60), (59, 60)]
    assert rows[0]["end_time"] - rows[0]["start_time"] == timedelta(minutes=1)


@pytest.mark.parametrize(("resolution", "minutes", "sqlstate"), [("2h", 0, "SG040"), ("1d", 7, "SG041")])
def test_what_cannot_be_answered_exactly_is_refused(
    telemetry: Telemetry, resolution: str, minutes: int, sqlstate: str
) -> None:
    with pytest.raises(psycopg.Error) as refused:
        intervals(telemetry, [1], SUNDAY, SUNDAY + timedelta(minutes=minutes), resolution)
    assert refused.value.sqlstate == sqlstate


def test_the_peak_is_the_first_highest_quarter_hour_by_the_register(telemetry: Telemetry) -> None:
    """C9: 4 times its watt-hours, wherever its samples of power were taken."""
    meter_id = telemetry.meter()
    columns = {"power_w_max": [9e5] * 4, "reactive_energy_import_varh": [400, 0, 0, 0]}
    put(telemetry, meter_id, SUNDAY, [300, 450, 450, 10], **columns)
    put(telemetry, meter_id, SUNDAY + DAY, [500])
    query = "SELECT * FROM peak_demand(%s, %s, %s, %s)"
    month = telemetry.rows(query, [meter_id], SUNDAY, SUNDAY + 30 * DAY, "1mo")
    days = telemetry.rows(query, [meter_id], SUNDAY, SUNDAY + 30 * DAY, "1d")
    assert [(row["demand_w"], row["demand_at"]) for row in month] == [(2000, SUNDAY + DAY)]
    assert [(row["demand_w"], row["demand_at"]) for row in days] == [(1800, SUNDAY + QUARTER), (2000, SUNDAY + DAY)]
    assert [(row["demand_va"], row["demand_va_at"]) for row in days] == [(2000, SUNDAY), (None, None)]


@pytest.mark.parametrize(
    "statement", ["intervals(%s, %s, %s, '1d')", "intervals(%s, %s, %s, '15m')", "peak_demand(%s, %s, %s)"]
)
def test_a_day_is_read_by_index_from_its_own_chunk(telemetry: Telemetry, statement: str) -> None:
    """Ten weeks of chunks, one day asked for."""
    meters = [telemetry.meter(), telemetry.meter()]
    for meter_id in meters:
        for week in range(10):
            put(telemetry, meter_id, SUNDAY - week * 7 * DAY, [1] * 96)
    telemetry.do("ANALYZE aggregates_15m")
    telemetry.do("LOAD 'auto_explain'")
    for setting in ("log_min_duration = 0", "log_nested_statements = on", "log_analyze = on", "log_level = notice"):
        telemetry.do(f"SET auto_explain.{setting}")
    plans: list[str] = []
    telemetry.connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    telemetry.do("SET client_min_messages = notice")
    telemetry.do("SET enable_seqscan = off")  # two meters are too few for the planner to bother with an index
    telemetry.rows(f"SELECT * FROM {statement}", meters, SUNDAY, SUNDAY + DAY)
    scans = [
        line
        for plan in plans
        for line in plan.splitlines()
        if "Scan" in line and "_hyper_" in line and "never executed" not in line
    ]
    assert len(scans) == 1
    assert "Index Scan using" in scans[0]
    assert "aggregates_15m_meter_id_bucket_key" in scans[0]


def test_what_nobody_edited_is_what_was_read(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [5, 6])
    put(telemetry, meter_id, SUNDAY, [5, 7])
    rows = effective(telemetry, meter_id, SUNDAY, SUNDAY + DAY)
    assert [(row["energy_import_wh"], row["quality"], row["version"], row["source"]) for row in rows] == [
        (5, 14, 2, "actual"),
        (7, 14, 2, "actual"),
    ]
