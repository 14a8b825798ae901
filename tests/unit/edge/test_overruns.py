"""Polls that a busy line left out: told as notes, few of them, and none left untold."""

import random
from collections.abc import Iterator
from itertools import count, islice, pairwise

import pytest

from contract.notes import NEIGHBOUR_INTERVALS, NEIGHBOUR_S, Note, NoteKind
from edge.drivers.modbus.schedule import Schedule
from edge.drivers.sink import DeviceState
from edge.silences import Silences
from tests.unit.edge.clocks import NOON_US, Machine

_DETAIL = "polls left out: the line was busy"


class _Line:
    """A gateway with one meter at a line; `looks` are once a second, whatever is read meanwhile."""

    def __init__(self, *, interval_s: float = 1, synchronized: bool = True) -> None:
        self.machine = Machine()
        self.machine.synchronized = synchronized
        self.meter = DeviceState(device="main", interval_ms=round(interval_s * 1000))
        self.silences = Silences(clock=self.machine.clock, timekeeper=self.machine.timekeeper())
        self.notes: list[Note] = []

    def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.machine.passes(1)
            self.look()

    def look(self) -> None:
        self.notes += self.silences.look([self.meter])

    def reads(self, *, left_out: int = 0) -> int:
        self.meter.read(self.machine.wall_us)
        self.meter.left_out(self.meter.overruns + left_out, self.machine.wall_us)
        return self.machine.wall_us

    def reads_on(self, seconds: int, *, each_s: int = 1, left_out: int = 0) -> int:
        """A reading each `each_s`; the time of the last."""
        last_us = self.machine.wall_us
        for _ in range(0, seconds, each_s):
            self.passes(each_s)
            last_us = self.reads(left_out=left_out)
        return last_us

    def end(self) -> list[Note]:
        self.notes += self.silences.end([self.meter])
        return self.notes


@pytest.fixture
def line() -> _Line:
    return _Line()


def test_polls_left_out_are_told_with_the_readings_around_them(line: _Line) -> None:
    """Neither an error of the meter nor its silence: the schedule asks for more than the line can carry."""
    before_us = line.reads_on(10)
    after_us = line.reads_on(3, each_s=3, left_out=2)
    line.reads_on(80)
    [note] = line.end()
    assert note == Note(NoteKind.OVERRUN, before_us, after_us, readings=2, device="main", detail=_DETAIL)


def test_polls_left_out_within_one_look_are_told_too() -> None:
    """A line may be too slow for intervals shorter than anything that is looked at."""
    line = _Line(interval_s=0.2)
    first_us = line.reads()
    line.look()
    for number in range(20):
        line.machine.passes(0.4)
        last_us = line.reads(left_out=1)
        if number % 3 == 2:
            line.look()
    [note] = line.end()
    assert (note.kind, note.first_us, note.last_us, note.readings) == (NoteKind.OVERRUN, first_us, last_us, 20)


def test_neighbours_are_one_note_and_what_lies_apart_is_another(line: _Line) -> None:
    begins_us = line.reads_on(5)
    line.reads_on(2, each_s=2, left_out=1)
    line.reads_on(round(NEIGHBOUR_S) - 4)
    ends_us = line.reads_on(2, each_s=2, left_out=1)
    line.reads_on(round(NEIGHBOUR_S) + 4)
    line.reads_on(2, each_s=2, left_out=1)
    line.reads_on(80)
    first, second = line.end()
    assert (first.first_us, first.last_us, first.readings) == (begins_us, ends_us, 2)
    assert (second.readings, second.last_us - second.first_us) == (1, 2_000_000)


def test_of_slow_devices_neighbours_may_be_minutes_apart() -> None:
    line = _Line(interval_s=60)
    assert NEIGHBOUR_INTERVALS * 60 > NEIGHBOUR_S
    line.reads_on(600, each_s=60)
    for _ in range(20):
        line.reads_on(120, each_s=120, left_out=1)
        line.reads_on(300, each_s=60)
    assert sum(note.readings for note in line.end()) == 20
    assert len(line.notes) < 15


def test_a_line_that_is_too_slow_all_day_floods_nobody_and_every_part_is_told_within_a_quarter_of_an_hour(
    line: _Line,
) -> None:
    line.reads()
    told_us = [line.machine.wall_us]
    for _ in range(12 * 3600 // 2):
        line.reads_on(2, each_s=2, left_out=1)
        told_us += [note.last_us for note in line.notes[len(told_us) - 1 :]]
        assert line.machine.wall_us - told_us[-1] <= 903_000_000
    notes = line.end()
    assert len(notes) < 12 * 4 + 8
    assert {note.kind for note in notes} == {NoteKind.OVERRUN}
    assert all(later.first_us == earlier.last_us + 1 for earlier, later in pairwise(notes))
    assert sum(note.readings for note in notes) == line.meter.overruns == 12 * 3600 // 2


def test_the_first_of_it_is_told_soon(line: _Line) -> None:
    """Who looks while it begins is not told that nobody knows."""
    line.reads()
    line.reads_on(15, each_s=3, left_out=2)
    line.passes(1)
    assert [note.kind for note in line.notes] == [NoteKind.OVERRUN]


def test_an_error_in_the_same_gap_is_a_silence_as_well(line: _Line) -> None:
    line.reads_on(10)
    line.passes(5)
    line.meter.failed("no reply within 1 s", line.machine.wall_us)
    line.passes(5)
    line.reads(left_out=4)
    line.reads_on(80)
    assert {(note.kind, note.detail) for note in line.end()} == {
        (NoteKind.SILENT, "no reply within 1 s"),
        (NoteKind.OVERRUN, _DETAIL),
    }


def test_polls_that_a_commit_took_their_time_from_are_told_up_to_the_next_reading(line: _Line) -> None:
    """With a commit interval of 0 the bus knows what it left out only once the reading is on disk."""
    before_us = line.reads_on(10)
    line.passes(1)
    line.meter.left_out(3, line.machine.wall_us)
    line.passes(3)
    after_us = line.reads()
    line.reads_on(80)
    [note] = line.end()
    assert note.first_us <= before_us
    assert (note.kind, note.last_us, note.readings) == (NoteKind.OVERRUN, after_us, 3)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_clock_that_steps_makes_it_neither_longer_nor_shorter(line: _Line, step_s: float) -> None:
    """E27"""
    line.reads_on(10)
    line.reads_on(4, each_s=2, left_out=1)
    line.machine.stepped(step_s)
    line.reads_on(4, each_s=2, left_out=1)
    line.reads_on(80)
    [note] = line.end()
    assert (note.readings, note.last_us - note.first_us) == (4, 8_000_000)


def test_it_waits_until_the_time_is_known() -> None:
    """E27: no RTC."""
    line = _Line(synchronized=False)
    line.reads()
    line.reads_on(600, each_s=2, left_out=1)
    assert line.notes == []
    line.machine.synchronized = True
    line.look()
    assert line.notes[0].first_us == NOON_US
    assert sum(note.readings for note in line.end()) == 300


def _polled(line: _Line, poll_s: Iterator[float], polls: int) -> list[tuple[int, int]]:
    """What the bus does with one meter whose polls take so long; between which readings it left any out."""
    schedule = Schedule(intervals_s=[line.meter.interval_ms / 1000], start_s=0.0)
    now_s = looked_s = 0.0
    left_out, before_us = [], line.machine.wall_us
    for took_s in islice(poll_s, polls):
        due_s = max(now_s, schedule.next_due_s)
        while looked_s + 1 <= due_s + took_s:
            line.machine.passes(looked_s + 1 - now_s)
            looked_s = now_s = looked_s + 1
            line.look()
        line.machine.passes(due_s + took_s - now_s)
        now_s = due_s + took_s
        assert schedule.take(due_s) == 0
        schedule.done(0, now_s)
        left = schedule.overruns[0] - line.meter.overruns
        if left:
            left_out.append((before_us, line.machine.wall_us))
        before_us = line.reads(left_out=left)
    return left_out


@pytest.mark.parametrize("interval_s", [0.2, 0.7, 1, 10])
@pytest.mark.parametrize("longest", [1.2, 2.5, 9.0])
def test_every_poll_that_a_schedule_left_out_lies_in_a_note(interval_s: float, longest: float) -> None:
    rng, line = random.Random(1), _Line(interval_s=interval_s)
    took_s = (interval_s * rng.choice([0.1, rng.uniform(0.1, longest)]) for _ in count())

    left_out = _polled(line, took_s, 2000)

    notes = [note for note in line.end() if note.kind is NoteKind.OVERRUN]
    assert sum(note.readings for note in notes) == line.meter.overruns > 0
    spans = [(note.first_us, note.last_us) for note in notes]
    assert [gap for gap in left_out if not any(first <= gap[0] + 1 and gap[1] <= last for first, last in spans)] == []
