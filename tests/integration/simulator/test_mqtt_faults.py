"""Faults of MQTT meters, as a subscriber of a real broker sees them."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import paho.mqtt.client as paho
import pytest
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.clock import now_us
from firmware_sim.dialects.dialect import Dialect, Message
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.mqtt.endpoint import MqttEndpoint
from firmware_sim.mqtt.publisher import Publisher, Schedule
from local.servers import MosquittoBroker

PLUGS = {
    "born": 'kind = "clock"',
    "ahead": 'kind = "clock"\nhow = "future"',
    "abroad": 'kind = "clock"\noffset_s = -3600',
    "twice": 'kind = "duplicate"',
    "kept": 'kind = "retained"',
    "zero": 'kind = "zero"\nquantity = "energy_import_wh"',
    "sound": "",
}


def _fleet(port: int) -> str:
    parts = ["seed = 7", "[[mqtt]]", f"port = {port}"]
    for name, fault in PLUGS.items():
        parts += ["[[mqtt.meter]]", f'name = "{name}"', 'model = "tasmota"', "interval_s = 1.0"]
        parts += ["[[mqtt.meter.fault]]", fault] if fault else []
    return "\n".join(parts)


class Heard:
    """Messages in the order of their arrival: topic, payload, whether the broker had kept it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._changed = threading.Condition()

    def add(self, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload, message.retain))
            self._changed.notify_all()

    def wait(self, enough: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(enough, 20), self.messages

    def of(self, name: str) -> list[dict]:
        return [json.loads(payload) for topic, payload, _ in list(self.messages) if topic == f"tele/{name}/SENSOR"]


@contextmanager
def _subscriber(port: int) -> Iterator[Heard]:
    heard, subscribed = Heard(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _data, message: heard.add(message)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert subscribed.wait(10)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


def _ahead_s(body: dict) -> float:
    return datetime.fromisoformat(body["Time"]).replace(tzinfo=UTC).timestamp() - time.time()


def test_clocks_copies_kept_messages_and_zeros_are_as_told(broker: MosquittoBroker, start_simulator) -> None:
    """E7, E15: and the journal has what was published, once."""
    with _subscriber(broker.port) as heard:
        simulator = start_simulator(_fleet(broker.port))
        heard.wait(lambda: all(len(heard.of(name)) >= 3 for name in PLUGS))
        assert heard.of("born")[0]["Time"].startswith("1970-01-01T00:00:")
        assert _ahead_s(heard.of("ahead")[0]) == pytest.approx(3653 * 86_400, abs=60)
        assert _ahead_s(heard.of("abroad")[0]) == pytest.approx(-3600, abs=60)
        assert heard.of("twice")[0] == heard.of("twice")[1]
        totals = [body["ENERGY"]["Total"] for body in heard.of("zero")]
        assert (totals[0], totals[1] > 0) == (0, True)
        with _subscriber(broker.port) as later:
            later.wait(lambda: bool(later.of("kept")))
            retained = [topic for topic, _, retain in later.messages if retain]
        assert simulator.stop() == (0, "")
        lines = simulator.lines()
    assert retained == ["tele/kept/SENSOR"]
    stated = [line["device_time_us"] for line in lines if line["meter"] == "twice"]
    assert len(stated) == len(set(stated))
    assert next(line for line in lines if line["meter"] == "zero")["values"]["energy_import_wh"] == 0
    assert all(line["device_time_us"] < 3600 * 10**6 for line in lines if line["meter"] == "born")


class _Node(Dialect):
    """Says that it is there, and leaves word with the broker that it is not; answers when it is called."""

    own_connection = True

    def __init__(self) -> None:
        self.births = 0

    def messages(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message("node/data", b"1", t_us, {"power_w": 1})]

    def on_connect(self, meter: Meter, t_us: int) -> list[Message]:
        self.births += 1
        return [Message("node/state", f"birth {self.births}".encode())]

    def on_disconnect(self, meter: Meter, t_us: int) -> list[Message]:
        return [Message("node/state", b"goodbye")]

    def will(self, meter: Meter, t_us: int) -> Message:
        return Message("node/state", f"death {self.births + 1}".encode())

    def subscriptions(self, meter: Meter) -> list[str]:
        return ["node/call/#"]

    def on_message(self, meter: Meter, topic: str, payload: bytes, t_us: int) -> list[Message]:
        return [Message("node/state", b"heard " + payload)]


# paho forgets to close its own wake-up sockets whenever its loop is started anew.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_node_is_born_dies_by_its_will_leaves_cleanly_and_answers(broker: MosquittoBroker) -> None:
    """A broken socket publishes the will, a clean end does not, and a birth is the first on every connection."""
    meter, faults = Meter(seed=7, name="node", peak_w=6000), Faults(seed=7, name="node")
    node = _Node()
    publisher = Publisher(meter=meter, dialect=node, schedules=[Schedule(node.messages, 20_000)], faults=faults)
    endpoint = MqttEndpoint(
        host="127.0.0.1", port=broker.port, client_id="node", publishers=[publisher], journal=Journal(None)
    )

    def states() -> list[str]:
        return [payload.decode() for topic, payload, _ in list(heard.messages) if topic == "node/state"]

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - what is waited for happens in another process and has no event
                await asyncio.sleep(0.02)

    with _subscriber(broker.port) as heard:
        async with endpoint:
            running = asyncio.create_task(endpoint.run())
            await until(lambda: states() == ["birth 1"])
            faults.add(FaultSpec(kind="disconnect", for_s=0.3), start_us=now_us())
            await until(lambda: states()[1:] == ["death 1", "birth 2"])
            faults.add(FaultSpec(kind="disconnect", how="clean", for_s=0.3), start_us=now_us())
            await until(lambda: states()[3:] == ["goodbye", "birth 3"])
            await asyncio.to_thread(publish.single, "node/call/now", b"you", 1, hostname="127.0.0.1", port=broker.port)
            await until(lambda: states()[5:] == ["heard you"])
            running.cancel()
        await until(lambda: states()[6:] == ["goodbye"])
    data = [topic for topic, _, _ in heard.messages]
    assert data[0] == "node/state", "a birth comes before any data"
    assert "node/data" in data


def test_a_fault_is_injected_into_a_meter_that_publishes(broker: MosquittoBroker, start_simulator) -> None:
    simulator = start_simulator(_fleet(broker.port), control=True)
    simulator.ready()
    command = [sys.executable, "-m", "firmware_sim", "fault", "--control", str(simulator.control), "sound"]
    with _subscriber(broker.port) as heard:
        done = subprocess.run([*command, "clock", "--set", "how=1970"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        heard.wait(lambda: any(body["Time"].startswith("1970") for body in heard.of("sound")))
    done = subprocess.run([*command, "timeout"], capture_output=True, text=True, check=False)
    assert (done.returncode, "timeout is for Modbus meters; use another kind" in done.stderr) == (1, True)


@pytest.mark.long
def test_one_meter_of_a_connection_or_all_of_a_fleet_fall_silent(broker: MosquittoBroker, start_simulator) -> None:
    """E1: whatever they speak, and those that share a connection with a silent one go on."""
    parts = ["[[modbus]]", "port = 0", "[[modbus.meter]]", 'name = "main"', 'model = "eastron-sdm630"', "unit = 1"]
    parts += ["[[mqtt]]", f"port = {broker.port}"]
    for name in ("plug.1", "plug.2"):
        parts += ["[[mqtt.meter]]", f'name = "{name}"', 'model = "tasmota"', "interval_s = 1.0"]
    simulator = start_simulator("\n".join(parts), control=True)
    (port,) = simulator.ready()["modbus_ports"]

    def inject(*arguments: str) -> None:
        command = [sys.executable, "-m", "firmware_sim", "fault", "--control", str(simulator.control), *arguments]
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)

    def answers() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            line.settimeout(0.3)
            line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0x34, 2))
            try:
                return len(line.recv(64)) == 13
            except TimeoutError:
                return False

    def said() -> list[int]:
        return [len(heard.of(name)) for name in ("plug.1", "plug.2")]

    def wait_for_the_second() -> None:
        told = said()[1]
        heard.wait(lambda: said()[1] >= told + 2)

    with _subscriber(broker.port) as heard:
        heard.wait(lambda: min(said()) > 0)
        inject("plug.1", "mute")
        # A message of the instant before may still be on its way.
        wait_for_the_second()
        before = said()[0]
        wait_for_the_second()
        assert said()[0] == before
        assert answers()
        inject("*", "mute")
        assert not answers()
        inject("plug.2", "none")
        wait_for_the_second()
        assert said()[0] == before
        inject("*", "none")
        heard.wait(lambda: said()[0] > before)
        assert answers()


def test_a_fault_of_the_grid_is_in_all_that_a_meter_publishes(broker: MosquittoBroker, start_simulator) -> None:
    simulator = start_simulator(_fleet(broker.port), control=True)
    simulator.ready()
    command = [sys.executable, "-m", "firmware_sim", "fault", "--control", str(simulator.control), "sound"]
    with _subscriber(broker.port) as heard:
        done = subprocess.run([*command, "voltage", "--set", "phase=2"], capture_output=True, text=True, check=False)
        assert "tasmota has no voltage_l2_v, so no voltage; use a model that has, or another kind" in done.stderr
        for kind, setting in (("voltage", "percent=50"), ("power-factor", "value=0.6"), ("overload", "w=8000")):
            subprocess.run([*command, kind, "--set", setting], check=True, timeout=30)
        heard.wait(lambda: bool(heard.of("sound")) and heard.of("sound")[-1]["ENERGY"]["Power"] > 1900)
        energy = heard.of("sound")[-1]["ENERGY"]
    assert energy["Voltage"] == pytest.approx(114, abs=3)
    assert energy["Power"] == pytest.approx(2000, rel=0.01), "half the voltage, a quarter of the power"
    assert energy["Factor"] == 0.6
    assert energy["ApparentPower"] == pytest.approx(energy["Voltage"] * energy["Current"], rel=0.01)
