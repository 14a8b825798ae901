"""How many readings are missing, by the rate: none that was only late, and as many as were expected and never came."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from contract.notes import GAP_INTERVALS
from edge.drivers.modbus.schedule import Schedule
from tests.sql.conftest import START

_QUERY = (
    "SELECT expected, received, missing, gap_count, gaps"
    " FROM meter_completeness(%s, %s + INTERVAL '7 days', false, 100000)"
)


def _found(telemetry: Any, times_s: Sequence[float], *, interval_s: float = 1.0) -> dict[str, Any]:
    """What is said of readings at `times_s` after START."""
    meter_id = telemetry.meter(interval_s=interval_s)
    telemetry.do(
        "INSERT INTO raw_readings (time, meter_id, batch_id, energy_import_wh)"
        f" SELECT %s + make_interval(secs => s), {meter_id}, 1, 0 FROM unnest(%s::double precision[]) AS s",
        *(START, list(map(float, times_s))),
    )
    [found] = telemetry.rows(_QUERY, START, START)
    assert sum(gap["missing"] for gap in found["gaps"]) == found["missing"]
    return found


@pytest.mark.parametrize("apart", [1.0, 1.3, 1.5, 1.58, 1.8, 1.99])
def test_two_readings_less_than_two_intervals_apart_lack_none(telemetry: Any, apart: float) -> None:
    found = _found(telemetry, [0, 10 * apart], interval_s=10)
    assert (found["expected"], found["received"], found["missing"], found["gap_count"]) == (2, 2, 0, 0)


@pytest.mark.parametrize(("apart", "lacks"), [(2.0, 1), (2.58, 1), (3.0, 2), (30.4, 29)])
def test_those_farther_apart_lack_one_each_whole_interval(telemetry: Any, apart: float, lacks: int) -> None:
    found = _found(telemetry, [0, 10 * apart], interval_s=10)
    assert (found["expected"], found["missing"], found["gap_count"]) == (2 + lacks, lacks, 1)


@pytest.mark.parametrize("late", [0.3, 0.58, 0.8, 0.97])
def test_a_poll_that_was_late_is_not_missing(telemetry: Any, late: float) -> None:
    times_s = [s + (late if s % 7 == 3 else 0) for s in range(700)]
    found = _found(telemetry, times_s)
    assert (found["expected"], found["received"], found["missing"]) == (700, 700, 0)


def test_several_late_ones_in_a_row_are_not_missing_either(telemetry: Any) -> None:
    late = {3: 0.8, 4: 0.9, 5: 0.4}
    found = _found(telemetry, [s + late.get(s % 10, 0) for s in range(500)])
    assert (found["expected"], found["missing"]) == (500, 0)


@pytest.mark.parametrize("jitter", [0, 0.02, 0.2, 0.4])
def test_a_reading_that_did_not_come_is_listed_where_it_would_have_been(telemetry: Any, jitter: float) -> None:
    """However early or late its neighbours are."""
    rng = random.Random(7)
    lost = sorted(rng.sample(range(10, 990), 80))
    times_s = {s: s + rng.uniform(0, jitter) for s in range(1000) if s not in lost}
    found = _found(telemetry, list(times_s.values()))
    assert (found["expected"], found["received"], found["missing"]) == (1000, 920, 80)
    rows = telemetry.rows(
        "SELECT EXTRACT(epoch FROM (e ->> 'from')::timestamptz - %s)::float AS lo,"
        " EXTRACT(epoch FROM (e ->> 'to')::timestamptz - %s)::float AS hi, (e ->> 'missing')::int AS missing"
        " FROM meter_completeness(%s, %s + INTERVAL '7 days', false, 100000), jsonb_array_elements(gaps) AS e",
        *(START, START, START, START),
    )
    listed = [row for row in rows for _ in range(row["missing"])]
    assert len(listed) == 80
    within = [1 for at, row in zip(lost, listed, strict=True) if row["lo"] < at + jitter and at < row["hi"]]
    assert len(within) >= 79


@pytest.mark.parametrize("jitter", [0, 0.008, 0.05])
def test_of_a_line_that_loses_every_second_poll_each_gap_lacks_one(telemetry: Any, jitter: float) -> None:
    rng = random.Random(2)
    found = _found(telemetry, [2 * n + rng.uniform(0, jitter) for n in range(2000)])
    assert (found["missing"], found["gap_count"]) == (1999, 1999)


@pytest.mark.parametrize("apart", [1.05, 1.33, 1.58, 1.95, 2.4])
def test_a_line_that_is_always_late_lacks_what_the_rate_says(telemetry: Any, apart: float) -> None:
    found = _found(telemetry, [apart * n for n in range(3000)])
    by_rate = apart * 2999 + 1 - 3000
    assert found["expected"] - found["received"] == found["missing"]
    assert found["missing"] == pytest.approx(by_rate, abs=1)


@pytest.mark.parametrize(
    ("meters", "shortest", "longest"), [(1, 0.3, 1.5), (1, 0.0, 0.9), (3, 0.25, 0.4), (3, 0.34, 0.34), (5, 0.05, 0.5)]
)
def test_over_a_long_time_at_a_busy_line_as_many_are_missing_as_were_left_out(
    telemetry: Any, meters: int, shortest: float, longest: float
) -> None:
    """What the gateway counts as left out, and what the cloud finds missing, are the same polls."""
    rng, schedule = random.Random(3), Schedule(intervals_s=[1.0] * meters, start_s=0.0)
    now_s, read_s = 0.0, [list[float]() for _ in range(meters)]
    while now_s < 5000:
        due_s = max(now_s, schedule.next_due_s)
        device = schedule.take(due_s)
        assert device is not None
        now_s = due_s + rng.uniform(shortest, longest)
        read_s[device].append(now_s)
        schedule.done(device, now_s)

    found = _found(telemetry, read_s[0])

    assert found["missing"] == pytest.approx(schedule.overruns[0], abs=2)
    assert found["expected"] - found["received"] == found["missing"]


@pytest.mark.parametrize("slow", [-0.02, 0.0001, 0.002, 0.009])
def test_a_meter_whose_clock_is_off_by_less_than_a_hundredth_lacks_nothing(telemetry: Any, slow: float) -> None:
    """It is slow, or fast; no reading of it is missing, and none can be found."""
    assert _found(telemetry, [s * (1 + slow) for s in range(3000)])["missing"] == 0


def test_a_silence_is_not_made_good_by_what_comes_too_often_afterwards(telemetry: Any) -> None:
    """A publisher's backlog in a burst, and readings in two parts each."""
    found = _found(telemetry, [*range(10), *(40 + n / 100 for n in range(40)), *(41 + n / 2 for n in range(100))])
    assert found["missing"] == 30


def test_of_readings_in_parts_each_that_did_not_come_is_missing(telemetry: Any) -> None:
    """A device that tells power and energy apart has two rows, close together."""
    rng = random.Random(5)
    lost = set(rng.sample(range(10, 490), 100))
    times_s = [s + part for s in range(500) if s not in lost for part in (rng.uniform(0, 0.02), 0.05)]
    assert _found(telemetry, times_s)["missing"] == 100


def test_what_lacks_alone_is_a_gap_to_the_gateway_too(telemetry: Any) -> None:
    """A gap without a note has no reason."""
    shortest = next(
        apart
        for apart in (1 + n / 20 for n in range(40))
        if _found_after(telemetry, [*range(20), *(19 + apart + n for n in range(20))])
    )
    assert shortest >= GAP_INTERVALS


def _found_after(telemetry: Any, times_s: Sequence[float]) -> bool:
    telemetry.do("DELETE FROM raw_readings WHERE time >= %s", START)
    telemetry.do("DELETE FROM device_registry")
    return bool(_found(telemetry, times_s)["missing"])
