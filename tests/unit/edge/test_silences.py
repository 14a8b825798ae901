"""When a device was not read, by whose word, and between which readings."""

import time
from itertools import pairwise

import pytest

from contract.notes import Note, NoteKind
from edge.drivers.sink import DeviceState
from edge.silences import Silences
from tests.unit.edge.clocks import NOON_US, Machine


class _Site:
    """A gateway with one meter, looked at each second."""

    def __init__(self, machine: Machine, *, interval_s: float = 10) -> None:
        self.machine = machine
        machine.synchronized = True
        self.meter = DeviceState(device="main", interval_ms=round(interval_s * 1000))
        self.silences = Silences(clock=machine.clock, timekeeper=machine.timekeeper())
        self.notes: list[Note] = []

    def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.machine.passes(1)
            self.notes += self.silences.look([self.meter])

    def reads(self) -> int:
        self.meter.read(self.machine.wall_us)
        return self.machine.wall_us


@pytest.fixture
def site() -> _Site:
    return _Site(Machine())


def test_a_meter_that_is_read_has_no_silences(site: _Site) -> None:
    for _ in range(100):
        site.passes(10)
        site.reads()
    assert site.silences.end([site.meter]) == site.notes == []


def test_a_silence_is_told_at_its_end_with_the_readings_around_it_and_its_last_error(site: _Site) -> None:
    site.passes(10)
    last_us = site.reads()
    for reason in ("refused", "no reply within 1 s"):
        site.passes(10)
        site.meter.failed(reason, site.machine.wall_us)
    assert site.notes == []
    next_us = site.reads()
    site.passes(1)
    assert site.notes == [
        Note(kind=NoteKind.SILENT, device="main", first_us=last_us, last_us=next_us, detail="no reply within 1 s")
    ]


def test_a_single_missed_poll_is_a_silence_and_a_late_one_is_none(site: _Site) -> None:
    for pause_s, told in ((15, 0), (16, 1)):
        site.passes(1)
        site.reads()
        site.passes(1)
        site.notes.clear()
        site.passes(pause_s - 1)
        site.reads()
        site.passes(1)
        assert len(site.notes) == told


def test_errors_before_the_last_reading_do_not_explain_the_silence_after_it(site: _Site) -> None:
    site.meter.failed("refused", site.machine.wall_us)
    site.reads()
    site.passes(60)
    site.reads()
    site.passes(1)
    assert [note.detail for note in site.notes] == ["no message"]


def test_a_line_too_slow_for_its_polls_is_told_as_the_reason(site: _Site) -> None:
    """Neither an error of the meter nor its silence: the schedule asks for more than the line can carry."""
    site.reads()
    site.passes(25)
    site.meter.overruns += 1
    site.reads()
    site.passes(30)
    site.reads()
    site.passes(1)
    assert [note.detail for note in site.notes] == ["polls left out: the line was busy", "no message"]
    assert [note.kind for note in site.notes] == [NoteKind.OVERRUN, NoteKind.SILENT]


def test_a_meter_that_never_answered_is_silent_from_the_start(site: _Site) -> None:
    site.passes(60)
    site.meter.failed("refused", site.machine.wall_us)
    [note] = site.silences.end([site.meter])
    assert (note.first_us, note.last_us, note.detail) == (NOON_US, site.machine.wall_us, "refused")


def test_a_long_silence_is_told_in_parts_that_meet_and_never_overlap(site: _Site) -> None:
    site.passes(5)
    last_us = site.reads()
    site.passes(3000)
    assert len(site.notes) == 3
    next_us = site.reads()
    site.passes(20)
    site.notes += site.silences.end([site.meter])
    silence, after = site.notes[:4], site.notes[4:]
    assert (silence[0].first_us, silence[-1].last_us) == (last_us, next_us)
    assert all(later.first_us == earlier.last_us + 1 for earlier, later in pairwise(silence))
    assert [(note.first_us, note.last_us) for note in after] == [(next_us, site.machine.wall_us)]


def test_a_device_that_publishes_once_an_hour_is_not_silent_in_between() -> None:
    site = _Site(Machine(), interval_s=3600)
    site.passes(5300)
    assert site.notes == []
    site.passes(200)
    assert [note.first_us for note in site.notes] == [NOON_US]


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_clock_that_steps_makes_a_silence_neither_longer_nor_shorter(site: _Site, step_s: float) -> None:
    """E27"""
    site.passes(10)
    last_us = site.reads()
    site.passes(30)
    site.machine.stepped(step_s)
    site.passes(30)
    next_us = site.reads()
    site.passes(1)
    [note] = site.notes
    assert (note.first_us, note.last_us) == (last_us + round(step_s * 1e6), next_us)
    assert note.last_us - note.first_us == 60_000_000


def test_a_clock_that_steps_makes_no_silence_of_its_own(site: _Site) -> None:
    """E27"""
    for step_s in (3600, -7200, 3600):
        site.passes(10)
        site.reads()
        site.machine.stepped(step_s)
    site.passes(10)
    site.reads()
    site.passes(1)
    assert site.notes == []


def test_silences_wait_until_the_time_is_known() -> None:
    """E27: no RTC."""
    site = _Site(Machine(7_000_000))
    site.machine.synchronized = False
    site.silences.not_running_since(NOON_US - 100_000_000)
    site.passes(1000)
    site.reads()
    site.passes(1)
    assert site.notes == []
    site.machine.synchronized = True
    site.machine.stepped((NOON_US - 7_000_000) / 1e6)
    site.passes(1)
    assert [(note.kind, note.first_us, note.last_us) for note in site.notes] == [
        (NoteKind.NOT_RUNNING, NOON_US - 100_000_000, NOON_US),
        (NoteKind.SILENT, NOON_US, NOON_US + 900_000_000),
        (NoteKind.SILENT, NOON_US + 900_000_001, NOON_US + 1_000_000_000),
    ]


def test_silences_that_there_is_no_room_for_are_counted(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """E20, E27: the time was not known for long, and the newest are kept."""
    monkeypatch.setattr("edge.silences._WAITING", 2)
    site.machine.synchronized = False
    site.passes(3700)
    assert (site.silences.lost(), site.silences.lost()) == (2, 0)
    site.machine.synchronized = True
    site.passes(1)
    assert [note.last_us - NOON_US for note in site.notes] == [2_702_000_000, 3_603_000_000]


def test_a_sleeping_gateway_reads_nothing(site: _Site) -> None:
    site.passes(10)
    last_us = site.reads()
    site.passes(1)
    site.machine.sleeps(3600)
    next_us = site.reads()
    site.passes(1)
    assert [(note.first_us, note.last_us) for note in site.notes] == [(last_us, next_us)]


@pytest.mark.parametrize("newest_us", [None, NOON_US + 1])
def test_a_gateway_without_older_readings_was_not_missed(site: _Site, newest_us: int | None) -> None:
    site.silences.not_running_since(newest_us)
    site.passes(1)
    assert site.notes == []


def test_meters_polled_many_times_a_second_are_not_silent_between_two_looks() -> None:
    site = _Site(Machine(), interval_s=0.1)
    for number in range(300):
        site.machine.passes(0.1)
        if number % 9:
            site.reads()
        if number % 10 == 7:
            site.notes += site.silences.look([site.meter])
    assert site.notes == []


def test_two_hundred_meters_cost_next_to_nothing() -> None:
    """E30: a look each second."""
    machine = Machine()
    machine.synchronized = True
    silences = Silences(clock=machine.clock, timekeeper=machine.timekeeper())
    meters = [DeviceState(device=f"meter-{number}", interval_ms=1000) for number in range(200)]
    began_s = time.process_time()
    for _ in range(100):
        machine.passes(1)
        for meter in meters:
            meter.read(machine.wall_us)
        assert silences.look(meters) == []
    assert (time.process_time() - began_s) / 100 < 0.01
