"""Registers that do not simply go on: what is booked, what is noted, and that nothing is booked across an exchange."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.conftest import START, Telemetry
from tests.sql.test_aggregate_energy import booked


def _events(telemetry: Any) -> list[tuple[object, ...]]:
    rows = telemetry.rows("SELECT kind, at, before_value, value FROM register_events ORDER BY at, kind")
    return [(row["kind"], (row["at"] - START).total_seconds(), row["before_value"], row["value"]) for row in rows]


def _exchange(telemetry: Telemetry, meter_id: int, at_s: float, final: int | None, first: int | None) -> None:
    """The import register of the meter ends, and another begins, `at_s` after START."""
    telemetry.do(
        "WITH exchange AS (INSERT INTO register_epochs VALUES (%s, 1, %s + make_interval(secs => %s), %s, %s)"
        " RETURNING meter_id, starts_at)"
        " SELECT mark_meters(1, ARRAY[meter_id], starts_at, starts_at, %s) FROM exchange",
        *(meter_id, START, at_s, final, first, telemetry.now),
    )


def test_a_rollover_is_booked(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=30, modulus_wh=10_000)
    telemetry.registers(meter_id, [(0, 9970), (30, 9990), (60, 10), (90, 30)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 60
    assert {quality for _, quality in telemetry.energy(meter_id).values()} == {14}
    assert _events(telemetry) == [("rollover", 60, 9990, 10)]


def test_a_fall_that_no_way_across_the_modulus_explains_is_no_rollover(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=30, modulus_wh=1_000_000)
    telemetry.registers(meter_id, [(0, 9970), (30, 9990), (60, 10), (90, 30)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 40
    assert _events(telemetry) == [("backwards", 60, 9990, 10)]


def test_what_goes_on_after_a_rollover_is_computed_like_anything_else(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=30, modulus_wh=10_000)
    for part in range(5):
        telemetry.registers(meter_id, [(s, (9900 + s) % 10_000) for s in range(part * 60, part * 60 + 60, 30)])
        telemetry.aggregate()
    assert booked(telemetry, meter_id) == 270


@pytest.mark.parametrize(("resets", "kind"), [(True, "reset"), (False, "backwards")])
def test_a_register_that_begins_again_is_a_reset_where_it_may(telemetry: Any, resets: bool, kind: str) -> None:
    meter_id = telemetry.meter(interval_s=30, resets=resets)
    telemetry.registers(meter_id, [(0, 9000), (30, 9010), (60, 3), (90, 13)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 20
    assert _events(telemetry) == [(kind, 60, 9010, 3)]
    assert telemetry.energy(meter_id)[1][1] == 10


def test_a_glitch_and_a_jump_are_told_apart(telemetry: Any) -> None:
    """E7"""
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(0, 5000), (1, 0), (2, 5001), (3, 90_000), (4, 90_001)])
    telemetry.aggregate()
    assert _events(telemetry) == [("glitch", 1, 5000, 0), ("jump", 3, 5001, 90_000)]


def test_a_read_whose_corrected_time_is_contradicted_by_its_neighbours_is_left_out(telemetry: Any) -> None:
    """E27: a clock that was learnt over a slow link is a second or two off, and the register seems to fall."""
    meter_id = telemetry.meter()
    telemetry.store(
        meter_id,
        ["energy_import_wh", "flags"],
        [(58, 258, 0), (59, 258, 0), (59.5, 260, 2), (60, 258, 0), (61, 258, 0), (62, 260, 0), (63, 262, 0)],
    )
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 4
    assert _events(telemetry) == [("glitch", 59.5, 258, 260)]


def test_a_register_that_turns_out_well_has_its_event_taken_back(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(0, 5000), (1, 9)])
    telemetry.aggregate()
    assert _events(telemetry) == [("backwards", 1, 5000, 9)]
    telemetry.registers(meter_id, [(2, 5001), (3, 5002)])
    telemetry.aggregate()
    assert _events(telemetry) == [("glitch", 1, 5000, 9)]
    assert booked(telemetry, meter_id) == 2


def test_an_exchange_books_up_to_the_final_read_and_from_the_first_one(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=60)
    _exchange(telemetry, meter_id, 100, 5030, 200)
    telemetry.registers(meter_id, [(0, 5000), (60, 5020), (120, 220), (180, 240)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 30 + 40
    assert _events(telemetry) == [("exchange", 100, 5030, 200)]


def test_two_reads_at_the_instant_of_an_exchange_are_one_reading_and_one_final_read(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=60)
    _exchange(telemetry, meter_id, 120, 5040, 200)
    telemetry.registers(meter_id, [(0, 5000), (60, 5020), (120, 200), (180, 220)])
    telemetry.aggregate()
    assert [minute for minute, _ in sorted(telemetry.energy(meter_id).items())] == [0, 1, 2, 3]
    assert booked(telemetry, meter_id) == 60


def test_an_exchange_without_its_reads_books_nothing_across(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=60)
    telemetry.registers(meter_id, [(0, 100), (60, 120), (240, 190), (300, 210)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 110
    _exchange(telemetry, meter_id, 150, None, None)
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 40
    assert telemetry.energy(meter_id)[2][1] == 10


def test_an_exchange_told_later_gives_what_it_would_have_given_at_once(telemetry: Any) -> None:
    early, late = telemetry.meter(interval_s=60), telemetry.meter(interval_s=60)
    reads = [(0, 5000), (60, 5020), (120, 220), (180, 240), (240, 250)]
    _exchange(telemetry, early, 100, 5030, 200)
    telemetry.registers(early, reads)
    telemetry.registers(late, reads)
    telemetry.aggregate()
    assert telemetry.minutes(late) != telemetry.minutes(early)
    _exchange(telemetry, late, 100, 5030, 200)
    telemetry.aggregate()
    assert telemetry.minutes(late) == telemetry.minutes(early)


Reads = list[tuple[float, int]]


@st.composite
def _lives(draw: st.DrawFn) -> tuple[Reads, tuple[float, int, int], list[int], int]:
    """Reads of a register that wraps at 1000 and is exchanged once; which delivery each comes in; Wh in all."""
    second, value, moved = 0.0, draw(st.integers(0, 999)), 0
    reads: Reads = [(0.0, value)]
    exchange = (0.0, 0, 0)
    length = draw(st.integers(3, 14))
    exchanged_after = draw(st.integers(0, length - 1))
    for number in range(length):
        step = draw(st.integers(0, 90))
        if number == exchanged_after:
            second += draw(st.sampled_from([1, 30, 90]))
            moved, value = moved + step, (value + step) % 1000
            exchange = (second, value, draw(st.integers(0, 999)))
            value, step = exchange[2], draw(st.integers(0, 90))
        second += draw(st.sampled_from([1, 20, 60, 200]))
        moved, value = moved + step, (value + step) % 1000
        reads.append((second, value))
    return reads, exchange, [draw(st.integers(0, 3)) for _ in reads], moved


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=_lives(), told_after=st.integers(0, 3))
def test_across_rollovers_and_an_exchange_minutes_add_up_exactly_whatever_the_order(
    telemetry: Any, life: tuple[Reads, tuple[float, int, int], list[int], int], told_after: int
) -> None:
    """C7: intervals add up to what all registers moved by, and are what they had been if all had come at once."""
    reads, exchange, deliveries, moved = life
    at_once, in_parts = (telemetry.meter(interval_s=60, max_power_w=1e4, modulus_wh=1000) for _ in range(2))
    _exchange(telemetry, at_once, *exchange)
    telemetry.registers(at_once, reads)
    telemetry.aggregate()
    for delivery in range(4):
        part = [read for read, number in zip(reads, deliveries, strict=True) if number == delivery]
        if part:
            telemetry.registers(in_parts, part)
            telemetry.aggregate(limit=1)
        if delivery == told_after:
            _exchange(telemetry, in_parts, *exchange)
            telemetry.aggregate()
    assert booked(telemetry, at_once) == moved
    assert telemetry.minutes(in_parts) == telemetry.minutes(at_once)
    assert telemetry.quarters(in_parts) == telemetry.quarters(at_once)
