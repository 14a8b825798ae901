"""A gateway's MQTT driver and the meters that it listens to, on real brokers."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge.clock import Clock
from edge.drivers.mqtt.broker import BrokerClient
from edge.drivers.mqtt.connection import Login
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.sink import Sink
from edge.profiles import catalog
from edge.reading import Reading


class Impatient(random.Random):
    """Draws the shortest pause before every reconnect."""

    def uniform(self, a: float, b: float) -> float:
        return a


@contextmanager
def publisher(port: int) -> Iterator[Client]:
    client = Client(CallbackAPIVersion.VERSION2, client_id="meters")
    client.max_inflight_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def publish(port: int, topic: str, *payloads: object, retain: bool = False, qos: int = 1) -> None:
    """Publish, and return once the broker has it all."""
    with publisher(port) as client:
        sent = [
            client.publish(topic, body if isinstance(body, bytes) else json.dumps(body), qos=qos, retain=retain)
            for body in payloads
        ]
        for message in sent:
            message.wait_for_publish(20)


def plug(name: str = "plug", profile: str = "tasmota", topic: str | None = None, channels: int = 1) -> MqttDevice:
    topic = topic or f"tele/{name}/SENSOR"
    return MqttDevice(id=name, topic=topic, profile=catalog.mqtt(profile), interval_s=1.0, zone=UTC, channels=channels)


@asynccontextmanager
async def listening(
    port: int, sink: Sink, *devices: MqttDevice, clock: Clock | None = None, **login: object
) -> AsyncIterator[BrokerClient]:
    stop = asyncio.Event()
    where = Login(**{"host": "127.0.0.1", "port": port, "client_id": "gateway"} | login)
    bus = BrokerClient(login=where, devices=devices or (plug(),), sink=sink, clock=clock or Clock(), jitter=Impatient())
    async with bus, asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        try:
            yield bus
        finally:
            stop.set()


def energy(wh: float, clock: str | None = None) -> dict[str, object]:
    return {"Time": clock, "ENERGY": {"Total": wh / 1000, "Power": 10}}


def registers(readings: list[Reading]) -> list[int | float]:
    return [reading.values["energy_import_wh"] for reading in readings]
