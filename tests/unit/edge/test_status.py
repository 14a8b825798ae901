"""What `segs-edge status` tells a person."""

import msgspec

from edge.buffer.queue import BufferState
from edge.buffer.store import Backlog
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import DeviceState
from edge.status import Running, Status, Stored, lines
from edge.uplink import UplinkState

NOW_US = 1_000_000_000


def _lines(*devices: DeviceState, brokers: tuple[BrokerState, ...] = ()) -> list[str]:
    stored = Stored("s", Backlog(0, 0, None), 0, None, None, 1, 0, 0, 0, [], None)
    daemon = Running(1, "0", 0, NOW_US, list(devices), list(brokers), BufferState(), UplinkState())
    return lines(Status("attic", "0", True, NOW_US, 1.0, None, stored, daemon))


def test_a_meter_that_was_never_reached_says_why() -> None:
    device = DeviceState(device="main", interval_ms=1000)
    device.partly_failed("192.0.2.10:502: refused", NOW_US)

    assert _lines(device)[-1] == "main: 0 readings, last never, 1 errors, last error: 192.0.2.10:502: refused"


def test_an_error_before_the_last_reading_is_over() -> None:
    device = DeviceState(device="main", interval_ms=1000)
    device.failed("timeout", NOW_US - 2_000_000)
    device.read(NOW_US - 1_000_000)

    assert _lines(device)[-1] == "main: 1 readings, last 1 s ago, 1 errors"


def test_a_broker_that_is_away_is_told() -> None:
    away = BrokerState(broker="192.0.2.20:1883")
    there = msgspec.structs.replace(away, connected=True, messages=3)

    assert "broker 192.0.2.20:1883: not connected, 0 messages" in _lines(brokers=(away,))
    assert "broker 192.0.2.20:1883: connected, 3 messages" in _lines(brokers=(there,))


def test_messages_that_hold_nothing_of_a_meter_are_told() -> None:
    """E13: they are acknowledged, so a profile of another kind of device shows here or nowhere."""
    broker = BrokerState(broker="192.0.2.20:1883", connected=True, messages=9, without_readings=9)

    assert "broker 192.0.2.20:1883: connected, 9 messages, 9 without a reading" in _lines(brokers=(broker,))
