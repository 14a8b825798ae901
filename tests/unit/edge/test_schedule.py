import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus.schedule import Schedule


def _run(
    schedule: Schedule, until_s: float, poll_s: float = 0.0, failing: frozenset[int] = frozenset()
) -> list[tuple[float, int]]:
    """Serve the schedule in simulated time; what was polled when."""
    now_s, polls, failures = 0.0, [], dict.fromkeys(failing, 0)
    while (now_s := max(now_s, schedule.next_due_s)) < until_s:
        device = schedule.take(now_s)
        assert device is not None
        polls.append((now_s, device))
        now_s += poll_s
        if device in failures:
            failures[device] += 1
        schedule.done(device, now_s, failures.get(device, 0))
    return polls


def test_a_fixed_rate_does_not_drift_with_the_time_that_polls_take() -> None:
    polls = _run(Schedule(intervals_s=[1.0], start_s=0.0), 100.0, poll_s=0.3)
    assert [round(at_s, 6) for at_s, _ in polls] == [float(second) for second in range(100)]


def test_phases_are_spread_over_the_interval() -> None:
    polls = _run(Schedule(intervals_s=[1.0] * 4, start_s=0.0), 1.0)
    assert polls == [(0.0, 0), (0.25, 1), (0.5, 2), (0.75, 3)]


def test_missed_slots_are_skipped_and_not_caught_up() -> None:
    schedule = Schedule(intervals_s=[1.0], start_s=0.0)
    assert schedule.take(0.0) == 0
    assert schedule.done(0, 7.4) == 8.0


def test_a_dead_device_is_asked_ever_less_often_but_always_again() -> None:
    """E1, E11"""
    schedule = Schedule(intervals_s=[1.0, 1.0], start_s=0.0, jitter=random.Random(1))
    polls = _run(schedule, 3600.0, failing=frozenset({0}))
    dead = [at_s for at_s, device in polls if device == 0]
    assert 50 < len(dead) < 150
    assert max(later - earlier for earlier, later in pairwise(dead)) < 62
    assert sum(device == 1 for _, device in polls) == 3600


@given(st.lists(st.floats(0.05, 900), min_size=1, max_size=8), st.floats(0, 0.05), st.integers(0, 2**32))
def test_every_device_keeps_its_own_grid(intervals_s: list[float], poll_s: float, seed: int) -> None:
    schedule = Schedule(intervals_s=intervals_s, start_s=0.0, jitter=random.Random(seed))
    for _ in range(50):
        now_s = schedule.next_due_s
        device = schedule.take(now_s)
        assert device is not None
        due_s = schedule.done(device, now_s + poll_s)
        assert now_s + poll_s < due_s + 1e-6
        steps = (due_s - intervals_s[device] * device / len(intervals_s)) / intervals_s[device]
        assert abs(steps - round(steps)) < 1e-6


def test_slots_that_a_busy_bus_leaves_out_are_counted() -> None:
    schedule = Schedule(intervals_s=[1.0, 1.0], start_s=0.0)
    _run(schedule, 30.0, poll_s=1.2)
    # Two polls of 1.2 s take 2.4 s, so that of 30 slots each device is served at 12 or 13.
    assert all(16 <= count <= 18 for count in schedule.overruns)


def test_slots_that_a_dead_device_is_left_out_are_no_overruns() -> None:
    schedule = Schedule(intervals_s=[1.0], start_s=0.0)
    _run(schedule, 600.0, failing=frozenset({0}))
    assert schedule.overruns == [0]


def test_a_slot_that_is_served_a_moment_early_is_served_once() -> None:
    schedule = Schedule(intervals_s=[1.0], start_s=0.0)
    assert schedule.take(0.0) == 0
    schedule.done(0, 0.1)
    assert schedule.take(0.9996) == 0
    assert schedule.done(0, 0.9997) == 2.0
