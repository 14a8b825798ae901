"""Devices that publish each number under a topic of its own: one reading of what belongs together."""

import asyncio
import json
from datetime import UTC

import pytest

from edge.clock import Clock
from edge.drivers.mqtt.device import MqttDevice
from edge.profiles import catalog
from local.servers import MosquittoBroker
from tests.integration.edge.brokers import listening, publisher
from tests.integration.edge.clocks import NOON_US, WallClock
from tests.integration.edge.peers import Kept, eventually


def _shelly(gather_ms: int = 400) -> MqttDevice:
    profile = catalog.mqtt("shelly-gen1").model_copy(update={"gather_ms": gather_ms})
    return MqttDevice(id="em", topic="shellies/em/#", profile=profile, interval_s=30.0, zone=UTC)


async def _say(broker: MosquittoBroker, *values: tuple[str, str]) -> None:
    def publish() -> None:
        with publisher(broker.port) as client:
            for field, value in values:
                client.publish(f"shellies/em/emeter/0/{field}", value, qos=1).wait_for_publish(5)

    await asyncio.to_thread(publish)


async def test_values_of_one_moment_are_one_reading_at_the_arrival_of_the_first(broker: MosquittoBroker) -> None:
    """E12: not at the time when the last of them was there."""
    kept = Kept()
    async with listening(broker.port, kept, _shelly(gather_ms=1_500)) as bus:
        await eventually(lambda: bus.state.connected)
        before_us = Clock().now_us()
        await _say(broker, ("power", "100.5"))
        await eventually(lambda: bus.state.messages == 1)
        arrived_us = Clock().now_us()
        await _say(broker, ("voltage", "230.1"), ("total", "1234.0"))
        await eventually(lambda: len(kept.readings) == 1)
    [reading] = kept.readings
    assert reading.values == {"power_w": 100.5, "voltage_l1_v": 230.1, "energy_import_wh": 1234}
    assert before_us <= reading.time_us <= arrived_us
    assert len(kept.deliveries) == 3


async def test_a_clock_that_is_set_while_values_are_gathered_stamps_them_all(broker: MosquittoBroker) -> None:
    """E27: a time of 1970 under the offset of today is corrected by nobody."""
    kept, wall = Kept(), WallClock()
    async with listening(broker.port, kept, _shelly(gather_ms=1_000), clock=wall.clock) as bus:
        await eventually(lambda: bus.state.connected)
        before_us = Clock().boottime_us()
        await _say(broker, ("power", "100.5"))
        await eventually(lambda: bus.state.messages == 1)
        arrived_us = Clock().boottime_us()
        wall.ahead_us = NOON_US
        await eventually(lambda: len(kept.readings) == 1)
    assert kept.offsets_us == pytest.approx([NOON_US], abs=10_000)
    assert before_us - 10_000 <= kept.readings[0].time_us - NOON_US <= arrived_us + 10_000


async def test_a_quantity_that_comes_again_begins_the_next_reading(broker: MosquittoBroker) -> None:
    """E6: the voltage of the one is not that of the other."""
    kept = Kept()
    async with listening(broker.port, kept, _shelly(gather_ms=60_000)) as bus:
        await eventually(lambda: bus.state.connected)
        await _say(broker, ("power", "1"), ("voltage", "230"), ("power", "2"))
        await eventually(lambda: len(kept.readings) == 1)
    assert [reading.values for reading in kept.readings] == [{"power_w": 1, "voltage_l1_v": 230}, {"power_w": 2}]


async def test_what_is_gathered_when_the_gateway_stops_is_committed_and_acknowledged(broker: MosquittoBroker) -> None:
    """E18"""
    kept, again = Kept(), Kept()
    async with listening(broker.port, kept, _shelly(gather_ms=60_000)) as bus:
        await eventually(lambda: bus.state.connected)
        await _say(broker, ("power", "1"), ("voltage", "230"))
        await eventually(lambda: bus.state.messages == 2)
        assert kept.readings == []
    async with listening(broker.port, again, _shelly(gather_ms=50)) as bus:
        await eventually(lambda: bus.state.connected)
        await _say(broker, ("power", "2"))
        await eventually(lambda: len(again.readings) >= 1)
    assert [reading.values for reading in kept.readings] == [{"power_w": 1, "voltage_l1_v": 230}]
    assert [reading.values for reading in again.readings] == [{"power_w": 2}]
    assert bus.state.messages == 1


async def test_what_was_gathered_and_not_committed_comes_again(broker: MosquittoBroker) -> None:
    """E13: acknowledged with the reading that they became, not before."""
    lost, kept = Kept(hold=True), Kept()
    async with listening(broker.port, lost, _shelly(gather_ms=100)) as bus:
        await eventually(lambda: bus.state.connected)
        await _say(broker, ("power", "1"), ("voltage", "230"))
        await eventually(lambda: len(lost.readings) >= 1)
    async with listening(broker.port, kept, _shelly(gather_ms=100)):
        await eventually(lambda: len(kept.readings) == 1)
    assert [reading.values for reading in kept.readings] == [{"power_w": 1, "voltage_l1_v": 230}]


async def test_a_device_that_its_will_declares_dead_is_shown_offline_until_it_speaks(broker: MosquittoBroker) -> None:
    """E6: and nothing is read of it meanwhile."""
    kept, device = Kept(), _shelly(gather_ms=100)
    async with listening(broker.port, kept, device) as bus:
        await eventually(lambda: bus.state.connected)
        await _say(broker, ("power", "1"))
        await eventually(lambda: len(kept.readings) == 1)
        with publisher(broker.port) as client:
            client.publish("shellies/em/online", "false", qos=1)
            await eventually(lambda: device.states["em"].offline)
        assert device.states["em"].last_error == "offline: it says so itself"
        await _say(broker, ("power", "2"))
        await eventually(lambda: not device.states["em"].offline)
    assert [reading.values for reading in kept.readings] == [{"power_w": 1}, {"power_w": 2}]


async def test_fields_of_one_devices_configuration_are_read(broker: MosquittoBroker) -> None:
    from edge.profiles.payload.settings import DeviceField, DeviceFields

    kept, fields = Kept(), DeviceFields(fields=(DeviceField(quantity="frequency_hz", path="Net.Hz"),))
    device = MqttDevice(
        id="plug",
        topic="tele/plug/SENSOR",
        profile=catalog.mqtt("tasmota"),
        interval_s=1.0,
        zone=UTC,
        fields=fields,
    )
    async with listening(broker.port, kept, device) as bus:
        await eventually(lambda: bus.state.connected)
        with publisher(broker.port) as client:
            client.publish("tele/plug/SENSOR", json.dumps({"Net": {"Hz": 50.01}, "ENERGY": {"Power": 3}}), qos=1)
            await eventually(lambda: len(kept.readings) == 1)
    assert kept.readings[0].values == {"frequency_hz": 50.01, "power_w": 3}
