"""Estimates of gaps: like days, adding up to what the register moved by, never instead of a reading."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.conftest import Telemetry
from tests.sql.quarters import DAY, QUARTER, SUNDAY, effective, live, put, validate

NOON = SUNDAY + timedelta(hours=12)
# By the hour of the day: it rises on workdays, and falls on Saturdays and Sundays.
WORKDAY = [10 + hour for hour in range(24) for _ in range(4)]
WEEKEND = WORKDAY[::-1]


def _weeks(telemetry: Telemetry, meter_id: int, days: int = 21) -> None:
    for day in range(1, days + 1):
        begin = SUNDAY - day * DAY
        put(telemetry, meter_id, begin, WEEKEND if begin.weekday() > 4 else WORKDAY)


def _gap(telemetry: Telemetry, meter_id: int, quarters: int, total_wh: int) -> None:
    """Read up to NOON and again after so many quarter-hours: a straight line, as the aggregation leaves it."""
    line = [total_wh * (n + 1) // quarters - total_wh * n // quarters for n in range(quarters)]
    put(telemetry, meter_id, SUNDAY, [30] * 48)
    put(telemetry, meter_id, NOON, line, samples=0, quality=9)
    put(telemetry, meter_id, NOON + quarters * QUARTER, [30])


def _sum(telemetry: Telemetry, meter_id: int, quarters: int) -> int:
    return sum(row["energy_import_wh"] for row in effective(telemetry, meter_id, NOON, NOON + quarters * QUARTER))


def test_a_long_gap_looks_like_like_days_and_adds_up_to_the_register(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    _weeks(telemetry, meter_id)
    _gap(telemetry, meter_id, 12, 2 * sum(WEEKEND[48:60]))
    validate(telemetry, SUNDAY + 5 * DAY)
    rows = effective(telemetry, meter_id, NOON - QUARTER, NOON + 13 * QUARTER)
    assert [row["energy_import_wh"] for row in rows] == [30, *(2 * wh for wh in WEEKEND[48:60]), 30]
    assert [(row["quality"], row["source"]) for row in rows[1:-1]] == [(8, "estimate")] * 12
    assert [row["version"] for row in rows] == [1, *[2] * 12, 1]


def test_a_gap_of_two_hours_stays_a_straight_line(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    _weeks(telemetry, meter_id)
    _gap(telemetry, meter_id, 8, 801)
    validate(telemetry, SUNDAY + 5 * DAY)
    assert live(telemetry, meter_id) == []
    assert {row["quality"] for row in effective(telemetry, meter_id, NOON, NOON + 8 * QUARTER)} == {9}


def test_a_gap_without_like_days_stays_a_straight_line(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    _gap(telemetry, meter_id, 48, 1000)
    validate(telemetry, SUNDAY + 5 * DAY)
    assert live(telemetry, meter_id) == []
    assert _sum(telemetry, meter_id, 48) == 1000


@given(quarters=st.integers(9, 40), total_wh=st.integers(0, 50_000), days=st.integers(1, 21), late=st.integers(0, 39))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_estimates_conserve_what_the_register_moved_by(
    telemetry: Telemetry, quarters: int, total_wh: int, days: int, late: int
) -> None:
    """Also once part of the gap is filled by readings that came late."""
    meter_id = telemetry.meter()
    _weeks(telemetry, meter_id, days)
    _gap(telemetry, meter_id, quarters, total_wh)
    validate(telemetry, SUNDAY + 5 * DAY)
    assert _sum(telemetry, meter_id, quarters) == total_wh
    late %= quarters
    [moved] = telemetry.rows(
        "SELECT energy_import_wh AS wh FROM aggregates_15m WHERE bucket = %s AND meter_id = %s",
        *(NOON + late * QUARTER, meter_id),
    )
    put(telemetry, meter_id, NOON + late * QUARTER, [moved["wh"]])
    validate(telemetry, SUNDAY + 6 * DAY)
    assert _sum(telemetry, meter_id, quarters) == total_wh
    assert all(row["energy_import_wh"] >= 0 for row in effective(telemetry, meter_id, NOON, NOON + quarters * QUARTER))


def test_a_reading_supersedes_an_estimate_which_is_kept(telemetry: Telemetry) -> None:
    """C7: and the number of the version says that the value is another."""
    meter_id = telemetry.meter()
    _weeks(telemetry, meter_id)
    _gap(telemetry, meter_id, 12, 3000)
    validate(telemetry, SUNDAY + 5 * DAY)
    before = effective(telemetry, meter_id, NOON, NOON + QUARTER)
    put(telemetry, meter_id, NOON, [17])
    [at_once] = effective(telemetry, meter_id, NOON, NOON + QUARTER)
    validate(telemetry, SUNDAY + 6 * DAY)
    [after] = effective(telemetry, meter_id, NOON, NOON + QUARTER)
    assert (at_once["energy_import_wh"], at_once["source"]) == (17, "actual")
    assert before[0]["version"] < at_once["version"] < after["version"]
    ended = telemetry.rows(
        "SELECT ended_reason FROM interval_versions WHERE bucket = %s AND ended_at IS NOT NULL", NOON
    )
    assert ended == [{"ended_reason": "superseded"}]


def test_estimating_again_changes_nothing(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    _weeks(telemetry, meter_id)
    _gap(telemetry, meter_id, 30, 9999)
    validate(telemetry, SUNDAY + 5 * DAY)
    before = telemetry.rows("SELECT * FROM interval_versions ORDER BY version_id")
    telemetry.do(
        "INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (%s, %s, %s)", meter_id, NOON, NOON
    )
    validate(telemetry, SUNDAY + 6 * DAY)
    assert telemetry.rows("SELECT * FROM interval_versions ORDER BY version_id") == before != []


def test_where_the_register_was_not_believed_the_load_is_flat(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [10, 11] * 24)
    put(telemetry, meter_id, NOON, [0] * 4, samples=0, quality=10)
    put(telemetry, meter_id, NOON + 4 * QUARTER, [10])
    validate(telemetry, SUNDAY + 5 * DAY)
    found = [(method, quality, wh) for _, method, quality, wh in live(telemetry, meter_id)]
    assert found == [("flat", 9, 11), ("flat", 9, 10), ("flat", 9, 11), ("flat", 9, 10)]


def _dead(telemetry: Telemetry, days: int) -> int:
    """A meter that is silent for so many days after SUNDAY, whose days have been validated."""
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [10] * 96)
    for day in range(1, days + 2):
        telemetry.rows("SELECT mark_ended_days(%s)", SUNDAY + day * DAY + timedelta(hours=19))
        validate(telemetry, SUNDAY + day * DAY + timedelta(hours=19))
    return meter_id


def test_a_dead_meter_is_not_forgotten(telemetry: Telemetry) -> None:
    """C10: what it uses is estimated for 35 days, and it is expected for as long as it is registered."""
    meter_id = _dead(telemetry, 5)
    for day in (5, 5, 6, 50):
        telemetry.rows("SELECT estimate_silence(10, %s)", SUNDAY + day * DAY + timedelta(hours=3))
    rows = live(telemetry, meter_id)
    assert (rows[0][0], rows[-1][0]) == (SUNDAY + DAY, SUNDAY + 36 * DAY - 2 * QUARTER)
    assert len(rows) == 96 * 35 - 1
    assert {row[1:] for row in rows} == {("flat", 9, 10)}


def test_beside_a_register_that_was_not_believed_another_one_keeps_what_it_moved_by(telemetry: Telemetry) -> None:
    """C9: an estimate stands in for what nobody knows, and for nothing else."""
    meter_id = telemetry.meter(interval_s=900)
    put(telemetry, meter_id, SUNDAY - DAY, [40] * 96, energy_export_wh=[7] * 96)
    reads = [(-900, 1000, 500), (0, 1030, 510), (4500, 5, 562), (5400, 35, 570)]
    telemetry.store(meter_id, ["energy_import_wh", "energy_export_wh"], reads)
    telemetry.aggregate()
    validate(telemetry, SUNDAY + 5 * DAY)
    rows = effective(telemetry, meter_id, NOON - QUARTER, NOON + 6 * QUARTER)
    assert [row["energy_import_wh"] for row in rows] == [30, 0, 40, 40, 40, 40, 30][: len(rows)]
    assert sum(row["energy_export_wh"] for row in rows) == 70
    assert live(telemetry, meter_id) == [(NOON + n * QUARTER, "flat", 9, 40) for n in range(1, 5)]


def test_a_living_meter_gets_no_flat_load(telemetry: Telemetry) -> None:
    meter_id = _dead(telemetry, 5)
    put(telemetry, meter_id, SUNDAY + 4 * DAY, [10])
    telemetry.rows("SELECT estimate_silence(10, %s)", SUNDAY + 6 * DAY)
    assert live(telemetry, meter_id) == []


def test_a_straight_line_replaces_a_flat_load_once_the_meter_is_back(telemetry: Telemetry) -> None:
    meter_id = _dead(telemetry, 5)
    telemetry.rows("SELECT estimate_silence(10, %s)", SUNDAY + 5 * DAY)
    put(telemetry, meter_id, SUNDAY + DAY, [7] * (96 * 4 + 20), samples=0, quality=9)
    put(telemetry, meter_id, SUNDAY + 5 * DAY + 20 * QUARTER, [10])
    validate(telemetry, SUNDAY + 6 * DAY)
    rows = effective(telemetry, meter_id, SUNDAY + DAY, SUNDAY + 5 * DAY + 20 * QUARTER)
    assert sum(row["energy_import_wh"] for row in rows) == 7 * (96 * 4 + 20)
    assert {row["quality"] for row in rows} == {8}


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (10, [1, 1, 1], [3, 4, 3]),
        (0, [1, 2], [0, 0]),
        (7, [0, 1, 0], [0, 7, 0]),
        (5, [0, 0], None),
        (5, [1, None], None),
        (None, [1, 1], [None, None]),
    ],
)
def test_a_total_is_shared_out_in_whole_numbers(telemetry: Telemetry, total: Any, weights: Any, shares: Any) -> None:
    assert telemetry.rows("SELECT share_out(%s::bigint, %s::numeric[]) AS s", total, weights) == [{"s": shares}]
