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


@pytest.mark.parametrize(
    "reads",
    [
        # Three seconds of a clock that stood three seconds back, once with a read between two reads, once with more.
        [(55, 793), (56, 793), (57.7, 795), (57.8, 793), (58.8, 793), (59.8, 793), (61.8, 795), (62.8, 796)],
        [
            (55, 793),
            (57.6, 793),
            (57.7, 795),
            (58.6, 793),
            (58.7, 796),
            (59.6, 794),
            (59.7, 796),
            (60.6, 794),
            (63.6, 797),
        ],
        # And of one that stood three seconds ahead.
        [(55, 793), (56, 794), (57, 795), (60, 796), (60.1, 795), (61, 796), (61.1, 795), (62, 797), (63, 798)],
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_reads_that_a_wrong_clock_has_brought_into_disorder_do_not_add_energy(
    telemetry: Any, reads: list[tuple[float, int]], backwards: bool
) -> None:
    """E27: a time service may be wrong by seconds for a while, and nothing at the gateway tells."""
    meter_id = telemetry.meter(interval_s=1)
    for read in reversed(reads) if backwards else reads:
        telemetry.registers(meter_id, [read])
        if backwards:
            telemetry.aggregate()
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == reads[-1][1] - reads[0][1]
    assert {kind for kind, *_ in _events(telemetry)} == {"glitch"}


def test_a_register_that_begins_again_at_little_is_no_disorder(telemetry: Any) -> None:
    """E8: it had counted less than it counts again within seconds."""
    meter_id = telemetry.meter(interval_s=1, resets=True)
    telemetry.registers(meter_id, [(0, 4), (1, 5), (2, 0), (3, 2), (4, 7)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 1 + 7
    assert [kind for kind, *_ in _events(telemetry)] == ["reset"]


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


@pytest.mark.parametrize(
    ("reads", "energy", "events"),
    [
        ([(0, 5000), (1, 5005), (2, 4990), (3, 4991), (30, 4995)], 11, [("backwards", 2, 5005, 4990)]),
        ([(0, 5000), (1, 5005), (2, 5003), (35, 5004)], 5, [("glitch", 1, 5000, 5005)]),
        (
            [(0, 5000), (1, 5005), (2, 5003), (3, 5004), (30, 5010)],
            11,
            [("glitch", 2, 5005, 5003), ("glitch", 3, 5003, 5004)],
        ),
        ([(0, 5000), (1, 5001), (2, 6150), (40, 6160)], 12, [("jump", 2, 5001, 6150)]),
        ([(0, 5000), (1, 9_118_000), (2, 5001), (30, 5003)], 4, [("glitch", 1, 5000, 9_118_000)]),
    ],
)
def test_what_goes_wrong_inside_a_minute_is_found_although_its_ends_are_plausible(
    telemetry: Any, reads: list[tuple[float, int]], energy: int, events: list[tuple[object, ...]]
) -> None:
    """C7: the fast way to a minute sees what the slow one sees; else the order of arrival would decide."""
    for null in (False, True):
        meter_id = telemetry.meter(interval_s=30)
        columns = ["energy_import_wh", "power_w"]
        rows = [(s, wh, 5.0) for s, wh in [*reads, (60, reads[-1][1] + 1)]]
        telemetry.store(meter_id, columns, [*rows, *((s + 0.5, None, 5.0) for s, *_ in rows if null)])
        telemetry.aggregate()
        assert telemetry.energy(meter_id) == {0: (energy, 10), 1: (0, 14)}
        assert _events(telemetry) == events
        telemetry.do("DELETE FROM register_events")


def test_an_exchange_that_was_taken_back_leaves_nothing(telemetry: Any) -> None:
    """No read is in its minute, which is all that is marked."""
    meter_id = telemetry.meter(interval_s=300)
    telemetry.registers(meter_id, [(s, 1000 + s) for s in range(0, 3000, 300)])
    telemetry.aggregate()
    as_it_was = telemetry.minutes(meter_id)
    _exchange(telemetry, meter_id, 1400, 2390, 0)
    telemetry.aggregate()
    assert telemetry.minutes(meter_id) != as_it_was
    telemetry.do(
        "WITH gone AS (DELETE FROM register_epochs RETURNING meter_id, starts_at)"
        " SELECT mark_meters(1, ARRAY[meter_id], starts_at, starts_at, now()) FROM gone"
    )
    telemetry.aggregate()
    assert telemetry.minutes(meter_id) == as_it_was
    assert _events(telemetry) == []


def test_a_straight_line_that_an_exchange_breaks_is_no_reading(telemetry: Any) -> None:
    """What the old register moved by between its last read and the exchange nobody knows."""
    meter_id = telemetry.meter(interval_s=60)
    telemetry.registers(meter_id, [(0, 100), (60, 120), (1200, 400), (1260, 420)])
    telemetry.aggregate()
    _exchange(telemetry, meter_id, 1200, None, 400)
    telemetry.aggregate()
    found = telemetry.energy(meter_id)
    assert {found[minute] for minute in range(2, 20)} == {(None, 10)}
    assert telemetry.quarters(meter_id)[0]["quality"] == 10


@pytest.mark.parametrize("told_first", [True, False])
@pytest.mark.parametrize(
    ("final", "first", "energy"),
    [
        # The last read is at 90 s, the exchange at 210 s, the next read at 315 s.
        (None, 0, {1: (5, 10), 2: (None, 10), 3: (5, 10), 4: (10, 9), 5: (7, 9)}),
        (130, None, {1: (10, 9), 2: (10, 9), 3: (5, 10), 4: (None, 10), 5: (4, 10)}),
        (None, None, {1: (5, 10), 2: (None, 10), 3: (None, 10), 4: (None, 10), 5: (4, 10)}),
        (130, 0, {1: (10, 9), 2: (10, 9), 3: (10, 9), 4: (10, 9), 5: (7, 9)}),
    ],
)
def test_every_minute_in_which_nobody_knows_what_a_register_moved_by_says_so(
    telemetry: Any, told_first: bool, final: int | None, first: int | None, energy: dict[float, tuple[object, object]]
) -> None:
    """C7: those of the reads on either side too, whether the exchange is told before or after them."""
    meter_id = telemetry.meter(interval_s=60)
    if told_first:
        _exchange(telemetry, meter_id, 210, final, first)
        telemetry.aggregate()
    telemetry.registers(meter_id, [(30, 100), (90, 110), (315, 18), (360, 22)])
    telemetry.aggregate()
    if not told_first:
        _exchange(telemetry, meter_id, 210, final, first)
        telemetry.aggregate()
    assert telemetry.energy(meter_id) == {0: (5, 14), **energy, 6: (0, 14)}
    assert telemetry.quarters(meter_id)[0]["quality"] == max(quality for _, quality in energy.values() if quality != 14)


def test_a_first_read_long_before_any_other_begins_the_energy(telemetry: Any) -> None:
    """C7: what the register moved by from there to the first reading that comes, whichever reading that is."""
    meter_id = telemetry.meter(interval_s=60)
    _exchange(telemetry, meter_id, 60, None, 0)
    telemetry.aggregate()
    telemetry.registers(meter_id, [(900, 77), (960, 80)])
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 80
    assert _events(telemetry) == [("exchange", 60, None, 0)]


def test_a_reading_that_an_exchange_explains_is_booked_from_the_exchange_before_it(telemetry: Any) -> None:
    """C7: until then it was taken for a glitch."""
    meter_id = telemetry.meter(interval_s=60)
    _exchange(telemetry, meter_id, 60, None, 0)
    telemetry.registers(meter_id, [(900, 77), (990, 52), (1050, 55)])
    telemetry.aggregate()
    _exchange(telemetry, meter_id, 930, 78, 50)
    telemetry.aggregate()
    assert booked(telemetry, meter_id) == 78 + 5


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


@pytest.mark.long
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
