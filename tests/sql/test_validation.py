"""Validation of local days: what each rule finds, once, and what it leaves alone."""

from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import Telemetry
from tests.sql.quarters import DAY, QUARTER, SUNDAY, put, validate

NOW = SUNDAY + 3 * DAY
MARKS = "SELECT meter_id, first_bucket, last_bucket FROM dirty_intervals"


def _findings(telemetry: Telemetry) -> list[tuple[Any, ...]]:
    query = (
        "SELECT rule, first_bucket, last_bucket, measured, allowed FROM vee_findings"
        " WHERE cleared_at IS NULL ORDER BY day, rule, first_bucket"
    )
    return [tuple(row.values()) for row in telemetry.rows(query)]


def _mixed(quarters: int, *, wh: int = 100) -> list[int]:
    """No two neighbours alike."""
    return [wh + n % 2 for n in range(quarters)]


def test_a_peak_that_is_far_above_the_third_highest_is_a_spike(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [*_mixed(40), 283, *_mixed(55)])
    put(telemetry, meter_id, SUNDAY + DAY, [*_mixed(40), 282, *_mixed(55)])
    validate(telemetry, NOW)
    assert _findings(telemetry) == [("spike", SUNDAY + 40 * QUARTER, SUNDAY + 40 * QUARTER, 283, pytest.approx(282.8))]


def test_a_small_peak_of_an_idle_meter_is_no_spike(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [*_mixed(40, wh=1), 249, *_mixed(55, wh=1)])
    validate(telemetry, NOW)
    assert _findings(telemetry) == []


def test_the_same_value_again_and_again_is_found_and_no_consumption_is_not(telemetry: Telemetry) -> None:
    """C5: nothing used is a value, and nothing odd."""
    meter_id, idle = telemetry.meter(), telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [*_mixed(20), *[7] * 48, *_mixed(28)])
    put(telemetry, meter_id, SUNDAY + DAY, [*_mixed(20), *[7] * 47, *_mixed(29)])
    put(telemetry, idle, SUNDAY, [0] * 96)
    validate(telemetry, NOW)
    assert _findings(telemetry) == [("consecutive", SUNDAY + 20 * QUARTER, SUNDAY + 67 * QUARTER, 48, 47)]


def _usual(telemetry: Telemetry, days: list[int], last: int) -> list[tuple[Any, ...]]:
    """Workdays of so many Wh a quarter-hour, and the findings of the last."""
    meter_id = telemetry.meter()
    monday = SUNDAY - 20 * DAY
    workdays = [monday + n * DAY for n in range(19) if (monday + n * DAY).weekday() < 5]
    for day, wh in zip(workdays, [*days, last], strict=False):
        put(telemetry, meter_id, day, _mixed(96, wh=wh))
        validate(telemetry, day + 2 * DAY)
    return _findings(telemetry)


@pytest.mark.parametrize(("last", "rules"), [(305, ["high"]), (295, []), (11, []), (9, ["low"]), (0, ["low"])])
def test_a_day_is_held_against_like_days_of_the_last_three_weeks(
    telemetry: Telemetry, last: int, rules: list[str]
) -> None:
    assert [row[0] for row in _usual(telemetry, [100, 100, 100, 100], last)] == rules


def test_without_enough_like_days_nothing_is_said(telemetry: Telemetry) -> None:
    assert _usual(telemetry, [100, 100], 1000) == []


def test_the_usual_follows_a_real_change_of_level(telemetry: Telemetry) -> None:
    """C10: the baseline does not freeze."""
    found = _usual(telemetry, [100, 100, 100, *[400] * 6], 400)
    assert [row[0] for row in found] == ["high"]


def test_intervals_that_add_up_to_more_or_less_than_the_register_are_found(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    reads = [(s - 43200, s // 36) for s in range(-600, 87000, 60)]
    telemetry.registers(meter_id, reads)
    telemetry.aggregate()
    validate(telemetry, NOW)
    assert [row for row in _findings(telemetry) if row[0] == "sum"] == []
    put(telemetry, meter_id, SUNDAY + 40 * QUARTER, [28])
    validate(telemetry, NOW)
    whole = (SUNDAY, SUNDAY + DAY - QUARTER, 2403, 2400)
    assert [row[1:] for row in _findings(telemetry) if row[0] == "sum"] == [whole]


def test_a_day_that_is_looked_at_again_finds_nothing_twice_and_clears_what_is_no_more(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [*_mixed(40), 900, *_mixed(55)])
    for _ in range(2):
        validate(telemetry, NOW)
        telemetry.do(
            "INSERT INTO dirty_intervals (meter_id, first_bucket, last_bucket) VALUES (%s, %s, %s)",
            meter_id,
            SUNDAY,
            SUNDAY,
        )
    assert len(telemetry.rows("SELECT * FROM vee_findings")) == 1
    put(telemetry, meter_id, SUNDAY + 40 * QUARTER, [101])
    validate(telemetry, NOW + DAY)
    assert _findings(telemetry) == []
    assert [row["cleared_at"] for row in telemetry.rows("SELECT cleared_at FROM vee_findings")] == [NOW + DAY]


def test_a_day_that_has_not_ended_is_not_judged(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [*_mixed(40), 900])
    validate(telemetry, SUNDAY + timedelta(hours=11))
    assert _findings(telemetry) == []


def test_a_rule_has_its_parameters_in_a_row(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.do("UPDATE vee_rules SET percent = 10, energy_wh = 0, number = 2 WHERE rule = 'spike'")
    put(telemetry, meter_id, SUNDAY, [*_mixed(40), 112, *_mixed(55)])
    validate(telemetry, NOW)
    telemetry.do("UPDATE vee_rules SET enabled = false WHERE rule = 'spike'")
    put(telemetry, meter_id, SUNDAY + DAY, [*_mixed(40), 900, *_mixed(55)])
    validate(telemetry, NOW)
    assert [row[0] for row in _findings(telemetry)] == ["spike"]


def test_each_day_is_marked_once_when_it_has_ended_everywhere(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.do("UPDATE device_registry SET timezone = 'Asia/Kathmandu'")
    looks = [timedelta(hours=hours) for hours in (41, 42, 43, 66, 720)]
    marked = [telemetry.rows("SELECT mark_ended_days(%s) AS n", SUNDAY + after)[0]["n"] for after in looks]
    assert marked == [1, 1, 0, 1, 7]
    day = telemetry.rows(f"{MARKS} ORDER BY dirty_id")[1]
    assert (day["meter_id"], day["first_bucket"]) == (meter_id, SUNDAY - timedelta(hours=5, minutes=45))
    assert day["last_bucket"] - day["first_bucket"] == DAY - QUARTER


def test_what_is_in_time_and_in_order_leaves_no_mark(telemetry: Telemetry) -> None:
    """Millions of quarter-hours are; a day later they are looked at once."""
    telemetry.do(
        "INSERT INTO aggregates_15m (meter_id, bucket, samples, coverage, quality, energy_import_wh)"
        " VALUES (1, time_bucket('15 minutes', now()), 9, 100, 14, 5)"
    )
    telemetry.do(
        "UPDATE aggregates_15m SET energy_import_wh = 6, samples = 10 WHERE bucket > now() - INTERVAL '1 hour'"
    )
    assert telemetry.rows(MARKS) == []
    telemetry.do("UPDATE aggregates_15m SET quality = 10 WHERE bucket > now() - INTERVAL '1 hour'")
    assert len(telemetry.rows(MARKS)) == 1


def test_two_claims_at_once_do_not_take_the_same_mark(telemetry: Telemetry) -> None:
    """C11"""
    one, other = telemetry.meter(), telemetry.meter()
    put(telemetry, one, SUNDAY, [*_mixed(40), 900, *_mixed(55)])
    telemetry.do("DELETE FROM dirty_intervals WHERE dirty_id > 1")
    put(telemetry, other, SUNDAY, [*_mixed(40), 900, *_mixed(55)])
    with psycopg.connect(telemetry.dsn) as first, psycopg.connect(telemetry.dsn) as second:
        second.execute("SET lock_timeout = '1s'")
        assert first.execute("SELECT marks FROM validate_intervals(1, %s)", [NOW]).fetchone() == (1,)
        assert second.execute("SELECT marks FROM validate_intervals(500, %s)", [NOW]).fetchone() == (96,)
    validate(telemetry, NOW)
    assert [row["day"] for row in telemetry.rows("SELECT day FROM vee_findings")] == [date(2026, 3, 1)] * 2
