"""The MQTT driver against a real Mosquitto."""

import asyncio
import json
import time
from datetime import UTC, datetime

from contract.batch import Flag
from edge.clock import Clock
from edge.reading import Delivery, Reading
from local.servers import MosquittoBroker
from tests.integration.edge.brokers import energy, listening, plug, publish, registers
from tests.integration.edge.peers import Kept, eventually, free_port


async def test_messages_become_readings_at_the_devices_own_time(broker: MosquittoBroker) -> None:
    kept, clock = Kept(), datetime.now(UTC).replace(microsecond=0)
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(5, clock.strftime("%FT%T")))
        await eventually(lambda: len(kept.readings) == 1)
    expected_us = round(clock.timestamp()) * 1_000_000
    assert kept.readings == [
        Reading("plug", expected_us, {"energy_import_wh": 5, "power_w": 10}, Flag.TIME_FROM_DEVICE, 1000)
    ]


async def test_a_clock_of_1970_gives_way_to_the_gateways(broker: MosquittoBroker) -> None:
    """E15, E27"""
    kept, before_us = Kept(), Clock().now_us()
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(5, "1970-01-01T00:33:28"))
        await eventually(lambda: len(kept.readings) == 1)
    assert before_us < kept.readings[0].time_us < Clock().now_us()
    assert kept.readings[0].flags == 0


async def test_two_messages_of_one_second_are_two_readings(broker: MosquittoBroker) -> None:
    """E27: a clock of whole seconds does not make one reading overwrite the other."""
    kept, clock = Kept(), datetime.now(UTC).strftime("%FT%T")
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(
            publish, broker.port, "tele/plug/SENSOR", energy(5, clock), energy(6, clock), energy(5, clock)
        )
        await eventually(lambda: len(kept.readings) == 3)
    assert [reading.flags for reading in kept.readings] == [1, 0, 1]
    assert kept.readings[0] == kept.readings[2]


async def test_messages_that_come_at_once_without_a_clock_have_each_a_time_of_its_own(broker: MosquittoBroker) -> None:
    """E27: what a broker kept while the gateway was away; two values of one instant would contradict each other."""
    kept = Kept()
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
    await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", *(energy(number) for number in range(1, 51)))
    async with listening(broker.port, kept):
        await eventually(lambda: len(kept.readings) == 50)
    times_us = [reading.time_us for reading in kept.readings]
    assert registers(kept.readings) == list(range(1, 51))
    assert times_us == sorted(set(times_us))


async def test_what_will_never_be_committed_stays_with_the_broker(broker: MosquittoBroker) -> None:
    """E13: the sink gave up; the broker must not."""
    gave_up, kept = Kept(hold=True), Kept()
    async with listening(broker.port, gave_up) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(1), energy(2))
        await eventually(lambda: len(gave_up.readings) == 2)
        gave_up.futures[0].cancel()
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(3))
        await eventually(lambda: 3 in registers(kept.readings))
    assert registers(kept.readings) == [1, 2, 3]


async def test_a_delivery_that_was_committed_before_a_crash_is_not_read_twice(broker: MosquittoBroker) -> None:
    """E23: committed, but not acknowledged when the gateway died; without a clock only the delivery tells."""
    first, second = Kept(hold=True), Kept()
    async with listening(broker.port, first) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(1), energy(2))
        await eventually(lambda: len(first.readings) == 2)
    second.deliveries.add(
        Delivery.of("gateway", 1, "tele/plug/SENSOR", json.dumps(energy(1)).encode()),
    )
    async with listening(broker.port, second) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(3))
        await eventually(lambda: bus.state.messages == 3)
    assert registers(second.readings) == [2, 3]
    assert bus.state.repeated == 1


async def test_a_message_that_waits_for_its_commit_over_a_reconnect_is_read_once(broker: MosquittoBroker) -> None:
    """E13, E23: the broker repeats on the new connection what the old one did not acknowledge."""
    kept, later = Kept(hold=True), Kept()
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(1))
        await eventually(lambda: len(kept.readings) == 1)
        assert bus._connection is not None
        bus._connection.abort("cut off by the test")
        await eventually(lambda: bus.state.messages == 2)
        assert bus.state.repeated == 1
        kept.futures[0].set_result(None)
    async with listening(broker.port, later) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(2))
        await eventually(lambda: 2 in registers(later.readings))
    assert registers(kept.readings) == [1]
    assert registers(later.readings) == [2]


async def test_what_cannot_be_read_is_kept_counted_and_then_acknowledged(broker: MosquittoBroker) -> None:
    """E13"""
    kept, again = Kept(), Kept()
    device = plug()
    async with listening(broker.port, kept, device) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", b"\xff\x00garbage", b"{", energy(1))
        await eventually(lambda: len(kept.readings) == 1)
    assert [(topic, payload) for topic, payload, _ in kept.rejected] == [
        ("tele/plug/SENSOR", b"\xff\x00garbage"),
        ("tele/plug/SENSOR", b"{"),
    ]
    assert (bus.state.rejected, device.states["plug"].errors) == (2, 2)
    async with listening(broker.port, again) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(2))
        await eventually(lambda: 2 in registers(again.readings))
    assert not again.rejected
    assert registers(again.readings) == [2]


async def test_a_retained_message_without_a_time_is_no_reading(broker: MosquittoBroker) -> None:
    kept = Kept()
    await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(1), retain=True)
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.retained_without_time == 1)
    assert not kept.readings


async def test_a_broker_that_is_down_at_the_start_is_waited_for(broker: MosquittoBroker) -> None:
    """E11"""
    kept = Kept()
    broker.kill()
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: "cannot be reached" in (bus.state.trouble or ""))
        assert not bus.state.connected
        await asyncio.to_thread(broker.start)
        await eventually(lambda: bus.state.connected, timeout_s=15)
        await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(1))
        await eventually(lambda: len(kept.readings) == 1)


async def test_two_channels_are_two_meters(broker: MosquittoBroker) -> None:
    """E15"""
    kept = Kept()
    async with listening(broker.port, kept, plug("dual", channels=2)) as bus:
        await eventually(lambda: bus.state.connected)
        payload = {"ENERGY": {"Total": [1.0, 2.0], "Power": [1, 2]}}
        await asyncio.to_thread(publish, broker.port, "tele/dual/SENSOR", payload)
        await eventually(lambda: len(kept.readings) == 2)
    assert {reading.device: reading.values["energy_import_wh"] for reading in kept.readings} == {
        "dual/1": 1000,
        "dual/2": 2000,
    }


async def test_a_message_for_nobody_is_rejected_and_does_not_hold_up_the_others(broker: MosquittoBroker) -> None:
    """A session remembers the topics of an older configuration."""
    kept, now = Kept(), Kept()
    async with listening(broker.port, kept, plug("old"), plug("plug")) as bus:
        await eventually(lambda: bus.state.connected)
    await asyncio.to_thread(publish, broker.port, "tele/old/SENSOR", energy(1))
    await asyncio.to_thread(publish, broker.port, "tele/plug/SENSOR", energy(2))
    async with listening(broker.port, now, plug("plug")):
        await eventually(lambda: len(now.readings) == 1)
    assert [(topic, reason) for topic, _, reason in now.rejected] == [
        ("tele/old/SENSOR", "no device is configured for this topic")
    ]


async def test_a_shelly_reports_power_and_energy_over_its_event_topic(broker: MosquittoBroker) -> None:
    kept, ts = Kept(), round(time.time(), 2)
    topic = "shellypro3em-1/events/rpc"
    async with listening(broker.port, kept, plug("shelly", "shelly-gen2", topic)) as bus:
        await eventually(lambda: bus.state.connected)
        await asyncio.to_thread(
            publish,
            broker.port,
            topic,
            {"method": "NotifyStatus", "params": {"ts": ts, "em:0": {"total_act_power": -18.0}}},
            {"method": "NotifyStatus", "params": {"ts": ts, "emdata:0": {"total_act": 5.4, "total_act_ret": 0}}},
            {"method": "NotifyEvent", "params": {"ts": ts, "events": []}},
        )
        await eventually(lambda: bus.state.messages == 3)
    assert [reading.values for reading in kept.readings] == [
        {"power_w": -18.0},
        {"energy_import_wh": 5, "energy_export_wh": 0},
    ]
    assert {reading.time_us for reading in kept.readings} == {round(ts * 1_000_000)}
    assert (bus.state.without_readings, bus.state.rejected) == (1, 0)


async def test_nobody_listening_is_no_reason_to_end() -> None:
    """E11: no broker at all; the driver starts and stops in good order."""
    async with listening(free_port(), Kept()) as bus:
        await eventually(lambda: "cannot be reached" in (bus.state.trouble or ""))
    assert not bus.state.connected
