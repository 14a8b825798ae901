"""What `segs-edge status` tells a person of meters, brokers and the gateway's own troubles."""

import msgspec
import pytest

from contract.report import ClockReport
from edge.buffer.state import BufferState
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import DeviceState
from edge.status.lines import lines, size
from edge.status.running import Running
from edge.status.status import Status
from edge.uplink.state import UplinkState

NOW_US = 1_000_000_000


def _running(*devices: DeviceState, brokers: tuple[BrokerState, ...] = (), **more: object) -> Running:
    plain = Running(1, "0", 0, NOW_US, list(devices), list(brokers), BufferState(), UplinkState())
    return msgspec.structs.replace(plain, **more)


def _lines(*devices: DeviceState, brokers: tuple[BrokerState, ...] = (), running: bool = True) -> list[str]:
    daemon = _running(*devices, brokers=brokers, written_us=NOW_US if running else NOW_US - 90_000_000)
    return lines(Status("attic", "0", "ok", [], running, NOW_US, 1.0, None, None, None, None, None, daemon))


def test_a_meter_that_was_never_reached_says_why() -> None:
    device = DeviceState(device="main", interval_ms=1000)
    device.partly_failed("192.0.2.10:502: refused", NOW_US)

    assert _lines(device)[-1] == "main: 0 readings, last never, 1 errors, last error: 192.0.2.10:502: refused"


def test_an_error_before_the_last_reading_is_over() -> None:
    device = DeviceState(device="main", interval_ms=1000)
    device.failed("timeout", NOW_US - 2_000_000)
    device.read(NOW_US - 1_000_000)

    assert _lines(device)[-1] == "main: 1 readings, last 1 s ago, 1 errors"


def test_polls_left_out_are_told_with_how_long_ago_the_last_was() -> None:
    """A line that is too slow for its intervals is told from one that had a fault once."""
    device = DeviceState(device="main", interval_ms=1000)
    for second, overruns in ((60, 12), (30, 12), (1, 12)):
        device.read(NOW_US - second * 1_000_000)
        device.left_out(overruns, NOW_US - second * 1_000_000)

    assert _lines(device)[-1] == "main: 3 readings, last 1 s ago, 0 errors, 12 polls left out, the last 60 s ago"


def test_what_a_stopped_gateway_says_of_its_meters_has_its_age() -> None:
    """The file is only written now and then: its counts are not those of the end."""
    device = DeviceState(device="main", interval_ms=1000)

    assert _lines(device, running=False)[-2] == "meters, as of 90 s ago:"
    assert not any(line.startswith("meters") for line in _lines(device))


def test_a_broker_that_is_away_is_told() -> None:
    away = BrokerState(broker="192.0.2.20:1883")
    there = msgspec.structs.replace(away, connected=True, messages=3)

    assert "broker 192.0.2.20:1883: not connected, 0 messages" in _lines(brokers=(away,))
    assert "broker 192.0.2.20:1883: connected, 3 messages" in _lines(brokers=(there,))


def test_messages_that_hold_nothing_of_a_meter_are_told() -> None:
    """E13: they are acknowledged, so a profile of another kind of device shows here or nowhere."""
    broker = BrokerState(broker="192.0.2.20:1883", connected=True, messages=9, without_readings=9)

    assert "broker 192.0.2.20:1883: connected, 9 messages, 9 without a reading" in _lines(brokers=(broker,))


def test_a_meter_that_says_nothing_is_a_trouble_after_three_intervals() -> None:
    """E13: a publisher that went away gives no error."""
    device = DeviceState(device="plug", interval_ms=10_000, last_reading_us=NOW_US - 31_000_000)
    running = _running(device)
    assert running.silent_meters == 1
    assert running.troubles() == ["plug: no message for more than three intervals"]
    device.read(NOW_US - 29_000_000)
    assert (running.silent_meters, running.troubles()) == (0, [])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"stuck": ["uplink live"]}, "loop uplink live: does not move"),
        ({"buffer": BufferState(unwritable="full", waiting=7)}, "buffer: full; 7 readings in memory"),
        ({"uplink": UplinkState(trouble="no gateway key")}, "uplink: no gateway key"),
        ({"clock": ClockReport(-3600.0)}, "clock: 3600 s behind the receiver's"),
        ({"time_known": False}, "clock: nobody vouches for the time yet; readings are kept, and sent once it is known"),
    ],
)
def test_each_trouble_of_the_gateway_is_a_line(more: dict[str, object], said: str) -> None:
    assert _running(**more).troubles() == [said]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (40 * 10**12, "40 TB")],
)
def test_sizes_are_in_the_largest_unit_that_they_fill(count: int, said: str) -> None:
    assert size(count) == said
