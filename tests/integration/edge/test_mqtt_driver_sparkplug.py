"""An edge node of Sparkplug B whose birth the gateway missed, over a real Mosquitto."""

import struct
import time
from datetime import UTC
from queue import Queue

from edge.drivers.mqtt.device import MqttDevice
from edge.profiles import catalog
from local.servers import MosquittoBroker
from tests.integration.edge.brokers import listening, publisher
from tests.integration.edge.peers import Kept, eventually

_DOUBLE = 10


def _varint(value: int) -> bytes:
    return bytes((value,)) if value < 128 else bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _metric(value: float, *, name: str = "", alias: int) -> bytes:
    named = _field(1, name.encode()) if name else b""
    return named + b"\x10" + _varint(alias) + b"\x20" + _varint(_DOUBLE) + b"\x69" + struct.pack("<d", value)


def _payload(seq: int, *metrics: bytes) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    return b"\x08" + _varint(now_ms) + b"".join(_field(2, metric) for metric in metrics) + b"\x18" + _varint(seq)


async def test_a_node_whose_names_are_not_known_is_asked_for_its_birth_once_and_then_read(
    broker: MosquittoBroker,
) -> None:
    """Data of an alias that nobody announced is kept as it is, and never taken for something else."""
    kept, asked = Kept(), Queue[tuple[str, bytes, int]]()
    profile = catalog.mqtt("sparkplug-b")
    device = MqttDevice(id="node", topic="spBv1.0/G/+/N/#", profile=profile, interval_s=10.0, zone=UTC)
    async with listening(broker.port, kept, device) as bus:
        await eventually(lambda: bus.state.connected)
        with publisher(broker.port) as node:
            node.on_message = lambda _c, _u, message: asked.put((message.topic, message.payload, message.qos))
            subscribed = Queue[int]()
            node.on_subscribe = lambda _c, _u, packet_id, *_: subscribed.put(packet_id)
            node.subscribe("spBv1.0/G/NCMD/N", 1)
            await eventually(lambda: not subscribed.empty())
            for seq in (4, 5):
                node.publish("spBv1.0/G/NDATA/N", _payload(seq, _metric(1234.5, alias=1)))
            await eventually(lambda: bus.state.rejected == 2)
            await eventually(lambda: not asked.empty())
            topic, payload, _ = asked.get()
            node.publish("spBv1.0/G/NBIRTH/N", _payload(0, _metric(230.5, name="power_w", alias=1)))
            node.publish("spBv1.0/G/NDATA/N", _payload(1, _metric(240.5, alias=1)))
            await eventually(lambda: len(kept.readings) == 2)
            node.publish("spBv1.0/G/NDEATH/N", _payload(0))
            await eventually(lambda: device.states["node"].offline)
    assert [reading.values for reading in kept.readings] == [{"power_w": 230.5}, {"power_w": 240.5}]
    assert topic == "spBv1.0/G/NCMD/N"
    assert b"\x0a\x14Node Control/Rebirth" in payload
    assert payload.endswith(b"\x20\x0b\x70\x01")
    assert asked.empty()
