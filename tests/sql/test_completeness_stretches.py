"""What people are shown: gaps for one reason that are neighbours, as one."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from cloud.completeness.measure import Meter, measure
from contract.notes import NEIGHBOUR_INTERVALS, NEIGHBOUR_S
from edge.drivers.modbus.schedule import Schedule
from tests.sql.conftest import START

Stretch = tuple[float, float, int, int, str]
"""Seconds after START, readings, gaps, reason."""


def _measure(telemetry: Any, *, hours: float = 24) -> Meter:
    with psycopg.connect(telemetry.dsn, autocommit=True) as connection:
        found = measure(connection, since=START, until=START + timedelta(hours=hours), whole=False)
    return found.meters[0]


def _stretches(meter: Meter) -> list[Stretch]:
    return [
        (
            *((datetime.fromisoformat(str(one[end])) - START).total_seconds() for end in ("from", "to")),
            int(one["missing"]),
            int(one["gaps"]),
            str(one["reason"]),
        )
        for one in meter.stretches
    ]


def _read(telemetry: Any, times_s: Iterable[float], *, interval_s: float = 1) -> None:
    telemetry.registers(telemetry.meter(interval_s=interval_s), [(s, 0) for s in times_s])


def _note(telemetry: Any, kind: str, first_s: float, last_s: float) -> None:
    telemetry.do(
        "INSERT INTO gateway_notes (gateway_id, batch_id, kind, device, first_time, last_time, readings, detail)"
        " VALUES (1, 1, %s, 'd1', %s, %s, 0, '')",
        *(kind, START + timedelta(seconds=first_s), START + timedelta(seconds=last_s)),
    )


def test_a_line_that_loses_every_second_poll_is_one_stretch(telemetry: Any) -> None:
    _read(telemetry, range(0, 20_001, 2))
    _note(telemetry, "overrun", 0, 20_000)
    meter = _measure(telemetry)
    assert _stretches(meter) == [(0, 20_000, 10_000, 10_000, "never_polled")]
    assert len(meter.gaps) == 100


def test_what_the_rate_finds_a_few_readings_beside_what_the_gateway_left_out_has_its_reason(telemetry: Any) -> None:
    """Three meters at a line of 4800 baud are a little too slow for a second; a poll is left out each six seconds."""
    schedule = Schedule(intervals_s=[1.0] * 3, start_s=0.0)
    now_s, read_s, busy_s = 0.0, [0.0], list[float]()
    while now_s < 600:
        now_s = max(now_s, schedule.next_due_s)
        device = schedule.take(now_s)
        assert device is not None
        now_s += 0.394
        before = schedule.overruns[0]
        schedule.done(device, now_s)
        if device == 0:
            busy_s += [read_s[-1], now_s] if schedule.overruns[0] > before else []
            read_s.append(now_s)
    _read(telemetry, read_s[1:])
    _note(telemetry, "overrun", busy_s[0], busy_s[-1])
    meter = _measure(telemetry)
    assert meter.missing == pytest.approx(schedule.overruns[0], abs=1)
    assert meter.reasons["never_polled"] == meter.missing > 100
    assert len(meter.stretches) == 1


def test_where_the_reason_changes_another_one_begins(telemetry: Any) -> None:
    _read(telemetry, [*range(0, 100, 2), *range(100, 300), *range(300, 401, 2)])
    _note(telemetry, "overrun", 0, 60)
    _note(telemetry, "silent", 60, 80)
    assert _stretches(_measure(telemetry)) == [
        (0, 60, 30, 30, "never_polled"),
        (60, 80, 10, 10, "never_polled"),
        (80, 100, 10, 10, "unknown"),
        (300, 400, 50, 50, "unknown"),
    ]


@pytest.mark.parametrize("interval_s", [1, 60])
@pytest.mark.parametrize(("late_s", "stretches"), [(0, 1), (1, 2)])
def test_neighbours_are_as_far_apart_as_to_the_gateway(
    telemetry: Any, interval_s: int, late_s: int, stretches: int
) -> None:
    apart_s = round(max(NEIGHBOUR_S, NEIGHBOUR_INTERVALS * interval_s))
    first = [0, 3 * interval_s]
    second = first[-1] + apart_s + late_s
    between = range(first[-1] + interval_s, second, interval_s)
    _read(telemetry, [*first, *between, second, second + 3 * interval_s], interval_s=interval_s)
    found = _stretches(_measure(telemetry))
    assert len(found) == stretches
    assert sum(one[2] for one in found) == 4


def test_the_parts_of_one_gap_count_as_one(telemetry: Any) -> None:
    _read(telemetry, [0, 30, 31, 61])
    _note(telemetry, "silent", 0, 10)
    assert _stretches(_measure(telemetry)) == [(0, 10.5, 10, 1, "never_polled"), (10.5, 61, 48, 2, "unknown")]


def test_no_more_stretches_are_listed_than_asked_for_the_newest(telemetry: Any) -> None:
    _read(telemetry, [s for s in range(1000) if s % 100 not in (50, 51)])
    query = "SELECT stretches FROM meter_completeness(%s, %s + INTERVAL '1 hour', false, 3)"
    [row] = telemetry.rows(query, START, START)
    assert [one["from"][11:19] for one in row["stretches"]] == ["12:12:29", "12:14:09", "12:15:49"]
