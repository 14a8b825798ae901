"""Which clock is believed, and where its steps are."""

import dataclasses

import pytest

from edge.timekeeping import Timekeeper
from tests.unit.edge.clocks import NOON_US, Machine

_DAY_S = 86_400


def _hears(keeper: Timekeeper, machine: Machine, true_us: int, *, took_s: float = 0.1, resolution_us: int = 1) -> None:
    """The receiver, whose clock shows `true_us` now, answers half of `took_s` ago."""
    now_s = machine.clock.monotonic_s()
    receiver_us = true_us - round(took_s * 5e5)
    keeper.heard(
        receiver_us // resolution_us * resolution_us,
        asked_s=now_s - took_s,
        answered_s=now_s,
        resolution_us=resolution_us,
    )


def _corrected_us(keeper: Timekeeper, stamped_us: int, offset_us: int) -> int | None:
    """What the buffer makes of a reading that was stamped in the epoch of `offset_us`."""
    true_us = keeper.true_offset_us()
    return None if true_us is None else stamped_us - offset_us + true_us


def test_a_clock_of_1970_is_believed_by_nobody_until_the_kernel_knows_the_time() -> None:
    """E27: no RTC."""
    machine = Machine(12_000_000, boottime_us=12_000_000)
    keeper = machine.timekeeper()
    first, stamped_us = keeper.look(), machine.wall_us
    assert keeper.true_offset_us() is None
    machine.passes(60)
    machine.stepped(NOON_US / 1e6)
    assert keeper.true_offset_us() is None
    machine.synchronized = True
    assert keeper.look().number == first.number + 1
    assert _corrected_us(keeper, stamped_us, first.offset_us) == NOON_US + 12_000_000
    assert _corrected_us(keeper, machine.wall_us, keeper.look().offset_us) == machine.wall_us


def test_a_clock_that_goes_on_from_the_last_shutdown_is_put_right_by_the_receiver() -> None:
    """E27: fake-hwclock, and no time service that can be reached."""
    machine = Machine(NOON_US - 3 * _DAY_S * 1_000_000)
    keeper = machine.timekeeper()
    epoch, stamped_us = keeper.look(), machine.wall_us
    machine.passes(10)
    assert keeper.true_offset_us() is None
    _hears(keeper, machine, NOON_US + 10_000_000)
    assert keeper.look() == epoch
    assert keeper.offset_s == pytest.approx(-3 * _DAY_S)
    assert _corrected_us(keeper, stamped_us, epoch.offset_us) == pytest.approx(NOON_US, abs=1)


def test_a_clock_that_the_receiver_agrees_with_is_believed_as_it_is() -> None:
    machine = Machine()
    keeper = machine.timekeeper()
    _hears(keeper, machine, machine.wall_us + 20_000_000)
    assert keeper.true_offset_us() == keeper.look().offset_us
    assert keeper.offset_s == pytest.approx(-20)


@pytest.mark.parametrize("step_s", [0.6, 3600, -0.6, -3600])
def test_a_step_either_way_begins_an_epoch_and_readings_before_it_are_corrected(step_s: float) -> None:
    """E27"""
    machine = Machine()
    keeper = machine.timekeeper()
    before, stamped_us = keeper.look(), machine.wall_us
    machine.stepped(step_s)
    machine.synchronized = True
    after = keeper.look()
    assert after.number == before.number + 1
    assert _corrected_us(keeper, stamped_us, before.offset_us) == stamped_us + round(step_s * 1e6)


def test_what_is_below_a_step_begins_none() -> None:
    machine = Machine()
    keeper = machine.timekeeper()
    before = keeper.look()
    machine.stepped(0.4)
    assert keeper.look() == before


def test_an_hour_that_comes_twice_is_told_apart() -> None:
    """E27: somebody sets the clock back by an hour, and forward again; nobody vouches for the hour between."""
    machine = Machine()
    machine.synchronized = True
    keeper = machine.timekeeper()
    assert keeper.true_offset_us() == keeper.look().offset_us
    machine.synchronized = False
    times_us = []
    for step_s in (0, -3600, 3600):
        machine.stepped(step_s)
        machine.passes(1800)
        times_us.append(_corrected_us(keeper, machine.wall_us, keeper.look().offset_us))
    assert times_us == [NOON_US + 1_800_000_000 * n for n in (1, 2, 3)]
    assert keeper.look().number == 3


@pytest.mark.parametrize("slewed_ppm", [500, -500])
def test_days_of_slewing_correct_nothing(slewed_ppm: float) -> None:
    """E27: 130 s in three days."""
    machine = Machine()
    machine.synchronized = True
    keeper = machine.timekeeper()
    first = keeper.look()
    for _ in range(3 * _DAY_S // 60):
        machine.passes(60, slewed_ppm=slewed_ppm)
        assert keeper.look() == first
        assert keeper.true_offset_us() == first.offset_us


def test_a_step_after_days_of_slewing_is_its_own_size() -> None:
    machine = Machine()
    machine.synchronized = True
    keeper = machine.timekeeper()
    first = keeper.look()
    for _ in range(_DAY_S // 60):
        machine.passes(60, slewed_ppm=500)
        keeper.look()
    machine.stepped(5)
    assert keeper.look().offset_us - first.offset_us == 5_000_000


def test_sleep_is_no_step() -> None:
    machine = Machine()
    keeper = machine.timekeeper()
    before = keeper.look()
    machine.sleeps(8 * 3600)
    assert keeper.look() == before


def test_a_receiver_that_is_wrong_moves_no_clock_that_is_synchronized() -> None:
    machine = Machine()
    machine.synchronized = True
    keeper = machine.timekeeper()
    _hears(keeper, machine, machine.wall_us - 3600_000_000)
    assert keeper.true_offset_us() == keeper.look().offset_us
    assert keeper.offset_s == pytest.approx(3600)


def test_without_a_receiver_the_kernel_alone_vouches() -> None:
    machine = Machine()
    keeper = machine.timekeeper()
    assert (keeper.offset_s, keeper.true_offset_us()) == (None, None)
    machine.synchronized = True
    assert (keeper.offset_s, keeper.true_offset_us()) == (None, keeper.look().offset_us)


def test_a_clock_once_vouched_for_needs_no_word_for_ever() -> None:
    """The kernel takes its word back half a day after it last heard from a time service."""
    machine = Machine()
    machine.synchronized = True
    keeper = machine.timekeeper()
    known_us = keeper.true_offset_us()
    machine.synchronized = False
    machine.passes(3 * _DAY_S)
    assert keeper.true_offset_us() == known_us is not None


def test_answers_that_differ_by_what_the_network_took_change_nothing() -> None:
    """Each change would cut the same readings at other times."""
    machine = Machine(0)
    keeper = machine.timekeeper()
    _hears(keeper, machine, NOON_US)
    first_us = keeper.true_offset_us()
    for took_s in (4.0, 0.5, 0.05, 0.9):
        machine.passes(60)
        _hears(keeper, machine, NOON_US + machine.wall_us + 200_000, took_s=took_s)
        assert keeper.true_offset_us() == first_us


def test_a_header_of_whole_seconds_is_taken_for_the_middle_of_its_second() -> None:
    machine = Machine()
    keeper = machine.timekeeper()
    _hears(keeper, machine, machine.wall_us + 700_000, took_s=0, resolution_us=1_000_000)
    assert keeper.offset_s == pytest.approx(-0.5)
    _hears(keeper, machine, machine.wall_us + 700_000, took_s=0)
    assert keeper.offset_s == pytest.approx(-0.7)


def test_a_receiver_whose_clock_was_mended_is_believed_again() -> None:
    machine = Machine()
    keeper = machine.timekeeper()
    _hears(keeper, machine, machine.wall_us - 3600_000_000, took_s=0.01)
    assert keeper.true_offset_us() == keeper.look().offset_us - 3600_000_000
    _hears(keeper, machine, machine.wall_us, took_s=2)
    assert keeper.true_offset_us() == keeper.look().offset_us


def test_a_process_that_was_stopped_between_two_clocks_sees_no_step() -> None:
    machine = Machine()
    reads = iter(range(100))

    def boottime_us() -> int:
        if next(reads) == 3:
            machine.passes(20)
        return machine.boottime_us

    clock = dataclasses.replace(machine.clock, boottime_us=boottime_us)
    keeper = Timekeeper(clock=clock, boot_id="boot", synchronized=lambda: False)
    assert keeper.look().number == 1
    assert machine.wall_us == NOON_US + 20_000_000


def test_a_time_that_was_taken_before_a_step_belongs_to_the_clock_before_it() -> None:
    """E27"""
    machine = Machine(0)
    keeper = machine.timekeeper()
    before, seen_us = keeper.look(), machine.clock.offset_us()
    machine.passes(3_600, slewed_ppm=100)
    later_us = machine.clock.offset_us()
    assert keeper.epoch_offset_us(later_us) == before.offset_us
    machine.stepped(NOON_US / 1e6)
    assert keeper.epoch_offset_us(later_us) == before.offset_us
    assert abs(keeper.epoch_offset_us(seen_us) - before.offset_us) <= 500_000
    assert keeper.epoch_offset_us(machine.clock.offset_us()) == keeper.look().offset_us
    assert keeper.look().number == 2


@pytest.mark.parametrize("receiver_us", [-62_135_596_800_000_000, 0, 253_402_300_799_000_000, 2**62, 10**19 - 1])
def test_a_receiver_of_the_year_1_or_9999_is_believed_by_nobody(receiver_us: int) -> None:
    """E27: the readings would be of that year, and beyond 62 bits of no year at all."""
    machine = Machine(NOON_US - 3 * _DAY_S * 1_000_000)
    keeper = machine.timekeeper()
    _hears(keeper, machine, receiver_us)
    assert (keeper.true_offset_us(), keeper.offset_s) == (None, None)
    _hears(keeper, machine, NOON_US)
    assert keeper.offset_s == pytest.approx(-3 * _DAY_S)
