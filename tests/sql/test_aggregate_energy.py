"""Energy of minutes: register differences that telescope, whatever comes late, twice, or wrong."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def booked(telemetry: Any, meter_id: int) -> int:
    """Imported energy of all minutes, Wh."""
    return sum(row["energy_import_wh"] or 0 for row in telemetry.minutes(meter_id))


def test_minutes_add_up_to_the_last_register_minus_the_first(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(s, 1_000_000 + s * s // 7) for s in range(7, 1000)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 999 * 999 // 7 - 49 // 7
    assert sum(row["energy_import_wh"] for row in telemetry.quarters(meter_id)) == 999 * 999 // 7 - 49 // 7
    assert {row["quality"] for row in telemetry.minutes(meter_id)} == {14}


def test_a_boundary_between_two_reads_is_interpolated_and_rounded_once(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=30)
    telemetry.registers(meter_id, [(40, 1000), (70, 1010), (100, 1020), (130, 1025)])
    telemetry.aggregate()
    # At 60 s the line from 1000 to 1010 is at 1006.67, at 120 s the one from 1020 to 1025 at 1023.33.
    assert telemetry.energy(meter_id) == {0: (7, 14), 1: (16, 14), 2: (2, 14)}


def test_minutes_inside_a_gap_get_a_row_of_their_own(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(59, 100), (239, 280), (240, 281)])
    telemetry.aggregate()
    assert telemetry.energy(meter_id) == {0: (1, 9), 1: (60, 9), 2: (60, 9), 3: (60, 9), 4: (0, 14)}
    between = telemetry.minutes(meter_id)[1]
    assert (between["samples"], between["coverage"]) == (0, 0)


def test_readings_that_fill_a_gap_replace_what_was_interpolated(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(s, 1000 + s) for s in (*range(60), *range(180, 240))])
    telemetry.aggregate()
    assert telemetry.energy(meter_id)[1] == (60, 9)
    telemetry.registers(meter_id, [(s, 1000 + 59 + (s - 59) // 120) for s in range(60, 180)])
    telemetry.aggregate()
    assert {quality for _, quality in telemetry.energy(meter_id).values()} == {14}
    assert telemetry.energy(meter_id)[1][0] == 0
    assert booked(telemetry, meter_id) == 239


@pytest.mark.parametrize("place", [10, 0, 59, 60])
def test_a_zero_glitch_is_left_out(telemetry: Any, place: int) -> None:
    """E7: within a minute, as the first or the last read of one."""
    meter_id = telemetry.meter()
    reads = [(s, 5000 + s) for s in range(-30, 120)]
    reads[reads.index((place, 5000 + place))] = (place, 0)
    telemetry.registers(meter_id, reads)
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 149
    assert telemetry.energy(meter_id)[place // 60][1] == 10


def test_a_zero_glitch_of_a_slow_meter_is_left_out(telemetry: Any) -> None:
    """E7: every read is a minute of its own, and the way back is one that the connection could carry."""
    meter_id = telemetry.meter(interval_s=900, max_power_w=1e6)
    telemetry.registers(meter_id, [(0, 5000), (900, 0), (1800, 5001), (2700, 5002)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 2


def test_a_glitch_at_the_end_books_nothing_until_the_next_read_tells(telemetry: Any) -> None:
    """E7"""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(57, 5_000_000), (58, 5_000_000), (59, 0)])
    telemetry.aggregate()
    assert telemetry.energy(meter_id) == {0: (0, 10)}
    telemetry.registers(meter_id, [(60, 5_000_001), (61, 5_000_001)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 1


def test_a_jump_that_no_connection_can_carry_books_nothing(telemetry: Any) -> None:
    """E4: the late reply that became a spike of 9,113 kWh."""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(0, 5000), (1, 5001), (2, 9_118_000), (3, 5002), (61, 5003)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 3
    stays = telemetry.meter()
    telemetry.registers(stays, [(0, 5000), (1, 5001), (2, 9_118_000), (3, 9_118_001), (61, 9_118_002)])
    telemetry.aggregate()
    assert booked(telemetry, stays) == 3
    assert telemetry.energy(stays)[0][1] == 10


def test_a_reset_books_nothing_and_counts_on_from_there(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(0, 9000), (30, 9010), (60, 0), (90, 10), (120, 20)])
    telemetry.aggregate()
    assert telemetry.energy(meter_id) == {0: (10, 10), 1: (20, 10), 2: (0, 14)}


@pytest.mark.parametrize(("nearer_s", "energy"), [(0, 0), (1, 100)])
def test_reads_seven_days_apart_have_no_energy_between_them(telemetry: Any, nearer_s: int, energy: int) -> None:
    meter_id = telemetry.meter(interval_s=3600)
    telemetry.registers(meter_id, [(-7 * 86_400 + nearer_s, 1000), (0, 1100)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == energy


def test_a_register_of_whole_kilowatt_hours_is_believed(telemetry: Any) -> None:
    meter_id = telemetry.meter(max_power_w=7200)
    telemetry.registers(meter_id, [(s, 5_000_000 + s // 500 * 1000) for s in range(1501)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 3000
    assert {quality for _, quality in telemetry.energy(meter_id).values()} == {14}


def test_registers_that_come_in_messages_of_their_own_are_differenced_all_the_same(telemetry: Any) -> None:
    """E15: a Shelly publishes power every second and its registers once a minute."""
    meter_id = telemetry.meter()
    columns = ["power_w", "energy_import_wh", "energy_export_wh"]
    rows = [(s, 3600.0, None, None) for s in range(300)]
    rows += [(s + 0.5, None, 1000 + s, 7) for s in range(30, 300, 60)]
    telemetry.store(meter_id, columns, rows[:130])
    telemetry.aggregate()
    telemetry.store(meter_id, columns, rows[130:])
    telemetry.aggregate()
    minutes = telemetry.minutes(meter_id)
    assert sum(row["energy_import_wh"] for row in minutes) == 240
    assert [row["energy_export_wh"] for row in minutes] == [0] * 5
    assert [row["reactive_energy_import_varh"] for row in minutes] == [None] * 5
    assert [row["power_w_count"] for row in minutes] == [60] * 5


def test_each_register_is_differenced_on_its_own(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=30)
    columns = ["energy_import_wh", "energy_export_wh", "reactive_energy_import_varh", "reactive_energy_export_varh"]
    telemetry.store(meter_id, columns, [(0, 10, 500, 0, None), (30, 20, 0, 5, 1), (60, 30, 502, 10, 2)])
    telemetry.aggregate()
    sums = [sum(row[name] or 0 for row in telemetry.minutes(meter_id)) for name in columns]
    assert sums == [20, 2, 10, 1]


def test_a_meter_read_every_quarter_of_an_hour_has_whole_coverage(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=900)
    telemetry.registers(meter_id, [(s, s) for s in range(0, 7200, 900)])
    telemetry.aggregate()
    assert [row["energy_import_wh"] for row in telemetry.quarters(meter_id)][:-1] == [900] * 7
    assert {(row["quality"], row["coverage"]) for row in telemetry.quarters(meter_id)[:-1]} == {(14, 100)}


Reads = list[tuple[float, int | None, int | None, float | None]]


@st.composite
def _stories(draw: st.DrawFn) -> tuple[Reads, list[int], list[int], float, int]:
    """Readings of two registers with gaps, glitches, resets and NULLs; which delivery each comes in; the order."""
    length = draw(st.integers(2, 24))
    seconds, first, second = 0.0, 5_000_000, 300
    reads: Reads = []
    for _ in range(length):
        seconds += draw(st.sampled_from([0.25, 1, 1, 13, 40, 60, 150, 400]))
        first += draw(st.integers(0, 60))
        second += draw(st.integers(0, 3))
        shown: int | None = first
        match draw(st.sampled_from(["plain"] * 8 + ["null", "null", "zero", "spike", "reset", "wobble"])):
            case "null":
                shown = None
            case "zero":
                shown = 0
            case "spike":
                shown = first * 9
            case "reset":
                first = shown = draw(st.integers(0, 5))
            case "wobble":
                shown = max(0, first - 2)
        reads.append((seconds, shown, draw(st.sampled_from([None, second])), draw(st.sampled_from([None, 230.5]))))
    deliveries = [draw(st.integers(0, 4)) for _ in reads]
    return (
        reads,
        deliveries,
        draw(st.permutations(range(5))),
        draw(st.sampled_from([1, 20, 60])),
        draw(st.sampled_from([1, 3, 200])),
    )


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=_stories())
def test_late_disordered_and_repeated_arrivals_end_in_the_same_rows(
    telemetry: Any, story: tuple[Reads, list[int], list[int], float, int]
) -> None:
    """C7: whatever the split, and whenever the worker runs."""
    reads, deliveries, order, interval_s, claim = story
    columns = ["energy_import_wh", "energy_export_wh", "power_w"]
    at_once, in_parts = telemetry.meter(interval_s=interval_s), telemetry.meter(interval_s=interval_s)
    telemetry.store(at_once, columns, reads)
    telemetry.aggregate()
    parts = [[read for read, number in zip(reads, deliveries, strict=True) if number == delivery] for delivery in order]
    for part in [*parts, reads[:1]]:
        if part:
            telemetry.store(in_parts, columns, part, mark_each=True)
            telemetry.aggregate(limit=claim)
    assert telemetry.minutes(in_parts) == telemetry.minutes(at_once)
    assert telemetry.quarters(in_parts) == telemetry.quarters(at_once)
    minutes = telemetry.minutes(at_once)
    assert sum(row["samples"] for row in minutes) == len({read[0] for read in reads})
    grown = [read[2] for read in reads if read[2] is not None]
    booked = [row["energy_export_wh"] for row in minutes if row["energy_export_wh"] is not None]
    assert sum(booked) == (grown[-1] - grown[0] if grown else 0)
