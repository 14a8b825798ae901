"""Heartbeats, and logging that does not fill a disk."""

from edge.clock import Clock
from edge.heartbeat import Heartbeats
from edge.repeats import Repeats


class _Time:
    def __init__(self) -> None:
        self.now_s = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(now_us=lambda: round(self.now_s * 1e6), monotonic_s=lambda: self.now_s)


def test_a_loop_that_stops_moving_is_named_and_the_others_are_not() -> None:
    time = _Time()
    beats = Heartbeats(clock=time.clock)
    uplink, _buffer = beats.loop("uplink"), beats.loop("buffer")
    time.now_s += 61
    uplink()
    assert beats.stuck(60) == ["buffer"]


def test_lasting_trouble_is_logged_ever_less_often_and_counted_in_between() -> None:
    """E31"""
    time = _Time()
    repeats = Repeats(clock=time.clock)
    logged = []
    for _ in range(86_400):
        if (count := repeats.due("meter")) is not None:
            logged.append(count)
        time.now_s += 1
    assert 20 < len(logged) < 40
    assert sum(logged) + len(logged) > 86_400 - 3601


def test_trouble_that_is_over_is_logged_at_once_when_it_returns() -> None:
    repeats = Repeats(clock=_Time().clock)
    assert repeats.due("meter") == 0
    assert repeats.due("meter") is None
    assert repeats.over("meter")
    assert not repeats.over("meter")
    assert repeats.due("meter") == 0
