"""What the API tells of a meter's energy: right to the watt-hour, whatever clocks and owners do."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.sql.conftest import START, Telemetry
from tests.sql.quarters import DAY, QUARTER, SUNDAY, intervals, put
from tests.sql.reads import ALL, Reader, owned

BERLIN = ZoneInfo("Europe/Berlin")
LATER = SUNDAY + 400 * DAY
ENERGY = "SELECT * FROM meter_energy(%s, %s, %s, %s)"
STATISTICS = "SELECT * FROM meter_statistics(%s, %s, %s, %s)"
COMPARED = "SELECT * FROM compare_periods(%s, %s, %s, %s, %s, %s)"


@pytest.fixture
def reader(telemetry: Telemetry) -> Reader:
    return Reader(telemetry)


def _berlin(telemetry: Telemetry) -> int:
    meter_id = telemetry.meter()
    telemetry.do("UPDATE device_registry SET timezone = 'Europe/Berlin' WHERE meter_id = %s", meter_id)
    return meter_id


@pytest.mark.parametrize(
    ("day", "quarters"), [(date(2026, 3, 29), 92), (date(2026, 10, 25), 100), (date(2026, 3, 1), 96)]
)
def test_a_local_day_has_all_of_its_quarter_hours(
    telemetry: Telemetry, reader: Reader, day: date, quarters: int
) -> None:
    meter_id = _berlin(telemetry)
    midnight = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
    # One Wh more in each quarter-hour, and 1,000,000 outside of the day.
    put(telemetry, meter_id, midnight - QUARTER, [1_000_000, *range(1, quarters + 1), 1_000_000])
    [bounds] = reader.rows(ALL, "SELECT * FROM local_bounds(%s, %s, %s, NULL)", meter_id, day, day + DAY)
    [row] = reader.rows(ALL, ENERGY, meter_id, bounds["start_time"], bounds["end_time"], "1d")
    assert (row["day"], row["start_time"], row["end_time"]) == (day, midnight, midnight + quarters * QUARTER)
    assert (row["energy_import_wh"], row["quarters"], row["missing"]) == (quarters * (quarters + 1) // 2, quarters, 0)
    assert (row["peak_demand_w"], row["peak_demand_at"]) == (4 * quarters, midnight + (quarters - 1) * QUARTER)
    assert row["coverage"] == 100


def test_days_add_up_to_their_month(telemetry: Telemetry, reader: Reader) -> None:
    """D16: no date shifts by a day."""
    meter_id = _berlin(telemetry)
    begin, end = datetime(2026, 3, 1, tzinfo=BERLIN), datetime(2026, 4, 1, tzinfo=BERLIN)
    number = (end.astimezone(UTC) - begin.astimezone(UTC)) // QUARTER
    put(telemetry, meter_id, begin.astimezone(UTC), [n % 97 for n in range(number)])
    query = "SELECT * FROM local_bounds(%s, '2026-03-01', '2026-04-01', NULL)"
    [bounds] = reader.rows(ALL, query, meter_id)
    days, months = (reader.rows(ALL, ENERGY, meter_id, *bounds.values(), unit) for unit in ("1d", "1mo"))
    assert [row["quarters"] for row in days] == [92 if n == 29 else 96 for n in range(1, 32)]
    assert [row["day"] for row in days] == [date(2026, 3, n) for n in range(1, 32)]
    [month] = months
    assert (month["day"], month["quarters"]) == (date(2026, 3, 1), number)
    assert (
        month["energy_import_wh"] == sum(row["energy_import_wh"] for row in days) == sum(n % 97 for n in range(number))
    )
    assert month["peak_demand_w"] == max(row["peak_demand_w"] for row in days) == 4 * 96
    [statistics] = reader.rows(ALL, STATISTICS, meter_id, begin, end, LATER)
    assert statistics["energy_import_wh"] == month["energy_import_wh"]


def test_another_zone_than_the_meters_has_other_days(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = _berlin(telemetry)
    put(telemetry, meter_id, SUNDAY, [1] * 96)
    query = "SELECT day, energy_import_wh FROM meter_energy(%s, %s, %s, '1d', %s)"
    for zone, expected in (
        (None, [(date(2026, 3, 1), 92), (date(2026, 3, 2), 4)]),
        ("UTC", [(date(2026, 3, 1), 96)]),
        ("America/New_York", [(date(2026, 2, 28), 20), (date(2026, 3, 1), 76)]),
    ):
        rows = reader.rows(ALL, query, meter_id, SUNDAY, SUNDAY + DAY, zone)
        assert [tuple(row.values()) for row in rows] == expected
    assert reader.refused(ALL, query, meter_id, SUNDAY, SUNDAY + DAY, "Mars/Olympus") == "22023"
    assert reader.refused(ALL, ENERGY, meter_id, SUNDAY, SUNDAY + DAY, "1h") == "SG040"


def test_a_meter_that_moved_to_another_zone_has_its_days_where_it_was(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = _berlin(telemetry)
    moved = datetime(2026, 3, 10, 12, tzinfo=UTC)
    telemetry.do("UPDATE device_registry SET valid = tstzrange('-infinity', %s) WHERE meter_id = %s", moved, meter_id)
    telemetry.do(
        "INSERT INTO device_registry (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
        " SELECT gateway_id, device, meter_id, meter_code, region, 'America/New_York', interval_ms,"
        " tstzrange(%s, 'infinity') FROM device_registry WHERE meter_id = %s",
        *(moved, meter_id),
    )
    put(telemetry, meter_id, moved - 2 * DAY, [1] * 96 * 5)
    [bounds] = reader.rows(ALL, "SELECT * FROM local_bounds(%s, '2026-03-10', '2026-03-12', NULL)", meter_id)
    rows = reader.rows(ALL, ENERGY, meter_id, *bounds.values(), "1d")
    # 13 h in Berlin, then 16 h of that day and one of 24 h in New York.
    assert [(row["day"].day, row["energy_import_wh"]) for row in rows] == [(10, 13 * 4), (10, 16 * 4), (11, 24 * 4)]


def test_a_day_in_which_the_owner_changes_is_cut_in_two_and_what_the_keys_passed_in_is_nobodys(
    telemetry: Telemetry, reader: Reader
) -> None:
    """At 12:07: 48 quarter-hours before, 47 after, and the one from 12:00 belongs to neither."""
    meter_id = _berlin(telemetry)
    midnight = datetime(2026, 3, 2, tzinfo=BERLIN).astimezone(UTC)
    noon = midnight + DAY / 2
    moved = noon + timedelta(minutes=7)
    put(telemetry, meter_id, midnight, [3] * 48 + [1_000_000] + [500] * 47)
    old, new = owned(meter_id, ("-infinity", moved)), owned(meter_id, (moved, "infinity"))

    def told(grants: dict[str, object], lo: datetime, hi: datetime) -> tuple[object, ...]:
        [day] = reader.rows(grants, ENERGY, meter_id, lo, hi, "1d")
        [month] = reader.rows(grants, ENERGY, meter_id, lo, hi, "1mo")
        [statistics] = reader.rows(grants, STATISTICS, meter_id, lo, hi, LATER)
        [compared] = reader.rows(grants, COMPARED, meter_id, lo, hi, lo, hi, LATER)
        wh = {row["energy_import_wh"] for row in (day, month, statistics)} | {compared["after_energy_import_wh"]}
        peaks = {row["peak_demand_w"] for row in (day, month, statistics)}
        return wh, peaks, day["start_time"], day["end_time"], day["quarters"], statistics["load_factor"]

    assert told(old, midnight, moved) == ({144}, {12}, midnight, noon, 48, 1)
    assert told(new, moved, midnight + DAY) == ({23_500}, {2000}, noon + QUARTER, midnight + DAY, 47, 1)
    for grants in (old, new):
        for query in (ENERGY, STATISTICS):
            assert (
                reader.refused(grants, query, meter_id, midnight, midnight + DAY, "1d" if query == ENERGY else LATER)
                == "SG060"
            )


def test_an_owner_of_less_than_a_quarter_hour_learns_no_sum(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [7] * 96)
    span = (SUNDAY + timedelta(minutes=16), SUNDAY + timedelta(minutes=29))
    mine = owned(meter_id, span)
    for query, last in ((ENERGY, "1d"), (STATISTICS, LATER)):
        assert reader.rows(mine, query, meter_id, *span, last) == []
    assert [row["after_energy_import_wh"] for row in reader.rows(mine, COMPARED, meter_id, *span, *span, LATER)] == []


def test_statistics_are_of_samples_registers_and_what_is_known(telemetry: Telemetry, reader: Reader) -> None:
    """C5: zero watts count; C9: no mean of means."""
    meter_id = telemetry.meter()
    power = {
        "power_w_count": [1, 3, 0, 2],
        "power_w_sum": [100.0, 0.0, None, 20.0],
        "power_w_min": [100.0, -4.0, None, 5.0],
        "power_w_max": [100.0, 4.0, None, 15.0],
        "energy_export_wh": [0, 7, None, 0],
    }
    put(telemetry, meter_id, SUNDAY, [25, 0, None, 25], **power)
    put(telemetry, meter_id, SUNDAY + 4 * QUARTER, [10], quality=9, samples=0)
    [found] = reader.rows(ALL, STATISTICS, meter_id, SUNDAY, SUNDAY + 2 * timedelta(hours=1), LATER)
    assert found == {
        "start_time": SUNDAY,
        "end_time": SUNDAY + 8 * QUARTER,
        "energy_import_wh": 60,
        "energy_export_wh": 7,
        "reactive_energy_import_varh": None,
        "reactive_energy_export_varh": None,
        "energy_import_wh_per_day": 15 * 96,
        "power_w_mean": 20,
        "power_w_min": -4,
        "power_w_max": 100,
        "peak_demand_w": 100,
        "peak_demand_at": SUNDAY,
        "peak_demand_quality": 14,
        "load_factor": 0.6,
        "coverage": 50,
        "quality": 9,
        "version": 5,
        "missing": 3,
    }


def test_statistics_hold_what_stands_in_for_readings(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [25, 25])
    edit = "SELECT interval_edit(%s, %s, %s, NULL, 'why', 'ada', %s)"
    telemetry.do(edit, meter_id, [SUNDAY, SUNDAY + 2 * QUARTER], [1000, 5], LATER)
    [found] = reader.rows(ALL, STATISTICS, meter_id, SUNDAY, SUNDAY + DAY, LATER)
    expected = intervals(telemetry, [meter_id], SUNDAY, SUNDAY + DAY, "1d")
    assert (found["energy_import_wh"], found["quality"], found["peak_demand_w"]) == (1030, 7, 4000)
    assert {name: expected[0][name] for name in ("energy_import_wh", "coverage", "quality", "version", "missing")} == {
        name: found[name] for name in ("energy_import_wh", "coverage", "quality", "version", "missing")
    }


def test_what_is_still_to_come_is_not_missing(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [5] * 10)
    now = SUNDAY + 9 * QUARTER + timedelta(minutes=3)
    [found] = reader.rows(ALL, STATISTICS, meter_id, SUNDAY, SUNDAY + 30 * DAY, now)
    assert (found["end_time"], found["missing"], found["coverage"]) == (SUNDAY + 10 * QUARTER, 0, 100)
    assert reader.rows(ALL, STATISTICS, meter_id, SUNDAY + DAY, SUNDAY + 2 * DAY, now) == []


def test_nothing_known_is_told_as_such(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    [found] = reader.rows(ALL, STATISTICS, meter_id, SUNDAY, SUNDAY + DAY, LATER)
    kept = {name for name, value in found.items() if value is not None}
    assert kept == {"start_time", "end_time", "coverage", "version", "missing"}
    assert (found["coverage"], found["missing"]) == (0, 96)


def test_two_periods_are_compared_by_sum_and_by_day(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [10] * 96 * 2, energy_export_wh=[0] * 96 * 2)
    put(telemetry, meter_id, SUNDAY + 2 * DAY, [15] * 96, energy_export_wh=[2] * 96)
    [found] = reader.rows(ALL, COMPARED, meter_id, SUNDAY, SUNDAY + 2 * DAY, SUNDAY + 2 * DAY, SUNDAY + 3 * DAY, LATER)
    assert (found["before_energy_import_wh"], found["after_energy_import_wh"]) == (1920, 1440)
    assert (found["energy_import_change_wh"], found["energy_import_change_percent"]) == (-480, -25)
    assert (found["before_energy_import_wh_per_day"], found["after_energy_import_wh_per_day"]) == (960, 1440)
    assert found["energy_import_per_day_change_percent"] == 50
    assert (found["energy_export_change_wh"], found["energy_export_change_percent"]) == (192, None)
    assert (found["peak_demand_change_w"], found["peak_demand_change_percent"]) == (20, 50)


def test_both_periods_that_are_compared_must_be_ones_own(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    spans = (SUNDAY, SUNDAY + DAY), (SUNDAY + DAY, SUNDAY + 2 * DAY)
    for mine in spans:
        given = (*spans[0], *spans[1], LATER)
        assert reader.refused(owned(meter_id, mine), COMPARED, meter_id, *given) == "SG060"


@pytest.mark.parametrize("resolution", ["15m", "1h", "1d", "1mo"])
def test_channels_are_told_by_the_intervals_of_the_history(
    telemetry: Telemetry, reader: Reader, resolution: str
) -> None:
    meter_id = _berlin(telemetry)
    volts = {
        "voltage_l1_v_count": [1, 3] * 60,
        "voltage_l1_v_sum": [200.0, 720.0] * 60,
        "voltage_l1_v_min": [200.0, 239.0] * 60,
        "voltage_l1_v_max": [200.0, 241.0] * 60,
    }
    put(telemetry, meter_id, SUNDAY, [1] * 120, **volts)
    span = (SUNDAY + QUARTER, SUNDAY + 1.2 * DAY)
    rows = reader.rows(ALL, "SELECT * FROM meter_channels(%s, %s, %s, %s)", meter_id, *span, resolution)
    history = reader.rows(ALL, "SELECT * FROM meter_history(%s, %s, %s, %s)", meter_id, *span, resolution)
    assert [(row["start_time"], row["end_time"]) for row in rows] == [
        (row["start_time"], row["end_time"]) for row in history
    ]
    whole = rows[1] if resolution != "1mo" else None
    if whole:
        assert whole["voltage_l1_v_mean"] == (200 if resolution == "15m" else 230)
        assert whole["voltage_l1_v_max"] == (200 if resolution == "15m" else 241)
    assert {row["current_l1_a_mean"] for row in rows} == {None}


def test_channels_of_minutes_are_those_of_their_readings(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter()
    telemetry.store(meter_id, ["voltage_l2_v", "frequency_hz"], [(0, 220, 50), (30, 230, None), (60, None, 49.5)])
    telemetry.aggregate()
    query = (
        "SELECT voltage_l2_v_mean, voltage_l2_v_min, voltage_l2_v_max, frequency_hz_mean, power_factor_max"
        " FROM meter_channels(%s, %s, %s, '1m')"
    )
    rows = reader.rows(ALL, query, meter_id, START, START + timedelta(minutes=2))
    assert [tuple(row.values()) for row in rows] == [(225, 220, 230, 50, None), (None, None, None, 49.5, None)]
    query = "SELECT * FROM meter_channels(%s, %s, %s, 'raw')"
    assert reader.refused(ALL, query, meter_id, START, START + timedelta(minutes=2)) == "SG040"


def test_completeness_is_of_the_time_that_readings_are_kept_and_that_has_passed(
    telemetry: Telemetry, reader: Reader
) -> None:
    meter_id, other = telemetry.meter(interval_s=10), telemetry.meter(interval_s=10)
    telemetry.store(meter_id, ["power_w"], [(s, 1) for s in range(0, 3600, 10) if not 600 <= s < 1200])
    telemetry.store(other, ["power_w"], [(0, 1)])
    query = "SELECT * FROM completeness_summary(%s, %s, %s, %s)"
    hour = (START, START + timedelta(hours=1))
    [found] = reader.rows(owned(meter_id, hour), query, meter_id, *hour, START + DAY)
    assert (found["expected"], found["received"], found["missing"]) == (360, 300, 60)
    assert found["received_percent"] == pytest.approx(100 * 300 / 360)
    assert (found["reasons"]["unknown"], len(found["stretches"])) == (60, 1)
    [command] = telemetry.rows(
        "SELECT expected, received, missing, gap_count, stretches, reasons, quarantined"
        " FROM meter_completeness(%s, %s, true) WHERE meter_id = %s",
        *(*hour, meter_id),
    )
    assert command == {name: found[name] for name in command}
    # Half an hour has passed; of the other span half is no longer kept.
    [half] = reader.rows(ALL, query, meter_id, START, START + DAY, START + timedelta(minutes=30))
    assert (half["end_time"], half["expected"], half["missing"]) == (START + timedelta(minutes=30), 180, 60)
    [kept] = reader.rows(ALL, query, meter_id, *hour, START + 7 * DAY + timedelta(minutes=30))
    assert (kept["start_time"], kept["expected"], kept["missing"]) == (START + timedelta(minutes=30), 180, 0)
    assert reader.rows(ALL, query, meter_id, *hour, START + 8 * DAY) == []
    assert reader.rows(ALL, query, meter_id, *hour, START) == []


def test_gaps_that_others_saw_are_not_told(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = telemetry.meter(interval_s=10)
    telemetry.store(meter_id, ["power_w"], [(s, 1) for s in range(0, 3600, 10) if not 600 <= s < 1800])
    mine = (START + timedelta(minutes=25), START + timedelta(hours=1))
    query = "SELECT stretches, missing FROM completeness_summary(%s, %s, %s, %s)"
    [found] = reader.rows(owned(meter_id, mine), query, meter_id, *mine, START + DAY)
    begins = [datetime.fromisoformat(stretch["from"]) for stretch in found["stretches"]]
    assert (begins, found["missing"]) == ([mine[0]], 30)


def test_days_follow_one_another(telemetry: Telemetry, reader: Reader) -> None:
    meter_id = _berlin(telemetry)
    put(telemetry, meter_id, SUNDAY, [1] * 96 * 7)
    rows = reader.rows(ALL, ENERGY, meter_id, SUNDAY, SUNDAY + 7 * DAY, "1d")
    assert all(earlier["end_time"] == later["start_time"] for earlier, later in pairwise(rows))
