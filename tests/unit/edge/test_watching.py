"""Heartbeats, the service manager, and logging that does not fill a disk."""

import socket
import threading
from pathlib import Path

from edge.clock import Clock
from edge.heartbeat import Heartbeats
from edge.repeats import Repeats
from edge.systemd import Notifier


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


def test_the_service_manager_hears_ready_and_alive(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
        notifier.ready()
        notifier.alive()
        assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"WATCHDOG=1"]
        assert notifier.watchdog_s == 30.0


def test_without_a_service_manager_nothing_is_sent_and_nothing_fails() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"})
    notifier.stopping()
    assert notifier.watchdog_s is None


def test_a_service_manager_that_does_not_read_holds_up_nothing(tmp_path: Path) -> None:
    """E11: its queue takes some ten datagrams, and the loop that polls is the one that sends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier = Notifier(address=str(tmp_path / "notify"))
        telling = threading.Thread(target=lambda: [notifier.status("1 meters") for _ in range(1000)], daemon=True)
        telling.start()
        telling.join(10)
        assert not telling.is_alive()
