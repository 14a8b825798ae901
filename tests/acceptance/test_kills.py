"""The promise, on real servers: whatever is killed, every reading that a meter served is stored exactly once."""

import time
from collections.abc import Iterator

import pytest

from local import fleet
from local.progress import Watcher
from local.proof.compare import LossSpan
from local.proof.report import prove
from local.stack import Stack

LOSS_WINDOW_S = 1.0
METERS_MODBUS, METERS_MQTT = 26, 14
SECONDS = 60.0


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(home=tmp_path_factory.mktemp("stack"))
    try:
        yield stack
    finally:
        stack.stop()


@pytest.mark.xdist_group("whole-machine")
@pytest.mark.timeout(300)
def test_kills_of_gateway_receiver_and_database_lose_nothing_and_double_nothing(stack: Stack) -> None:
    """E16, E18, E23, C3, C6: 40 meters at 1 s, and kill -9 of each process in the middle."""
    meters = fleet.build(modbus=METERS_MODBUS, mqtt=METERS_MQTT)
    stack.start_cloud(meters)
    stack.add_gateway("attic", meters, LOSS_WINDOW_S)
    stack.start_field()
    began = time.monotonic()
    _until(began, 15)
    spans = [_kill_gateway(stack)]
    _until(began, 28)
    stack.services["receiver"].kill()
    _until(began, 31)
    stack.services["receiver"].start()
    _until(began, 40)
    stack.databases.server.kill()
    _until(began, 43)
    stack.databases.server.start()
    _until(began, SECONDS)

    stack.stop_field()
    with Watcher(stack=stack, gateway="attic", began=began) as watcher:
        _settle(watcher)
        seen = watcher.look()
    report = prove(journal=stack.journal, dsn=stack.databases.dsn("telemetry"), gateway="attic", spans=spans)

    assert (report.lost, report.duplicated, report.altered, report.foreign) == (0, 0, 0, 0), report.examples
    assert report.energy_error_wh == 0, report.examples
    assert report.undelivered == 0
    assert report.unregistered == []
    assert report.meters == METERS_MODBUS + METERS_MQTT
    assert report.readings_stored > 0.8 * report.meters * SECONDS
    # One loss window, and what a meter answers between the kill and the death: no more than two readings a meter.
    assert report.in_loss_window <= 2 * METERS_MODBUS
    assert seen.quarantined == 0
    assert report.energy_wh > 0


def _kill_gateway(stack: Stack) -> LossSpan:
    killed_us = time.time_ns() // 1000
    stack.services["edge"].kill()
    dead_us = time.time_ns() // 1000
    time.sleep(2)
    stack.services["edge"].start()
    return LossSpan.before_kill(killed_us=killed_us, dead_us=dead_us, loss_window_s=LOSS_WINDOW_S)


def _until(began: float, seconds: float) -> None:
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def _settle(watcher: Watcher) -> None:
    deadline = time.monotonic() + 60
    while watcher.unfinished():
        assert time.monotonic() < deadline, "the workers do not finish"
        time.sleep(0.2)
