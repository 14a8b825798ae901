"""The MQTT meters, received by a client of their broker."""

import itertools
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from local.servers import MosquittoBroker
from tests.integration.simulator.conftest import Simulator

FLEET = """
seed = 7
[[mqtt]]
port = {port}
[[mqtt.meter]]
name = "plug"
model = "tasmota"
interval_s = 1.0
[[mqtt.meter]]
name = "house"
model = "shelly-gen2"
interval_s = 0.2
energy_interval_s = 0.4
"""


class Received:
    """Messages by topic; `wait` until `enough` holds."""

    def __init__(self) -> None:
        self.messages: dict[str, list[dict]] = {}
        self._changed = threading.Condition()

    def add(self, topic: str, payload: bytes) -> None:
        with self._changed:
            self.messages.setdefault(topic, []).append(json.loads(payload))
            self._changed.notify_all()

    def wait(self, enough: Callable[[], bool], timeout_s: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(enough, timeout_s), {topic: len(of) for topic, of in self.messages.items()}

    def count(self, topic: str) -> int:
        return len(self.messages.get(topic, []))


@contextmanager
def _subscriber(port: int) -> Iterator[Received]:
    received, subscribed = Received(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="test", clean_session=False)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _data, message: received.add(message.topic, message.payload)
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert subscribed.wait(10)
        yield received
    finally:
        client.disconnect()
        client.loop_stop()


def _until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def _device_times_us(received: Received) -> dict[str, list[int]]:
    plug = [
        int(datetime.fromisoformat(message["Time"]).replace(tzinfo=UTC).timestamp()) * 10**6
        for message in received.messages.get("tele/plug/SENSOR", [])
    ]
    house = [round(message["params"]["ts"] * 1e6) for message in received.messages.get("house/events/rpc", [])]
    return {"plug": plug, "house": house}


def _journalled(lines: list[dict]) -> dict[str, list[int]]:
    return {
        meter: [line["device_time_us"] for line in lines if line["meter"] == meter and line["kind"] == "mqtt"]
        for meter in ("plug", "house")
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Received, list[dict]]]:
    """What the fleet published in five seconds, and its journal; one run for both tests of one process."""
    folder = tmp_path_factory.mktemp("told")
    with MosquittoBroker(data_dir=folder / "broker", bound_to_parent=True) as broker, _subscriber(broker.port) as heard:
        simulator = Simulator(folder, FLEET.format(port=broker.port))
        try:
            assert simulator.ready()["meters"] == 2
            heard.wait(lambda: heard.count("tele/plug/SENSOR") >= 5)
            assert simulator.stop() == (0, "")
        finally:
            simulator.process.kill()
            simulator.process.communicate()
        lines = simulator.lines()
        heard.wait(lambda: sum(map(len, heard.messages.values())) == len(lines))
        yield heard, lines


@pytest.mark.xdist_group("told")
def test_messages_arrive_and_say_what_the_journal_says(told: tuple[Received, list[dict]]) -> None:
    received, lines = told
    assert _device_times_us(received) == _journalled(lines)
    plug = next(line for line in lines if line["meter"] == "plug")
    energy = received.messages["tele/plug/SENSOR"][0]["ENERGY"]
    assert (energy["Power"], round(energy["Total"] * 1000)) == (
        plug["values"]["power_w"],
        plug["values"]["energy_import_wh"],
    )
    params = [message["params"] for message in received.messages["house/events/rpc"]]
    house = [line for line in lines if line["meter"] == "house"]
    for told, line in zip(params, house, strict=True):
        if "em:0" in told:
            assert told["em:0"]["total_act_power"] == line["values"]["power_w"]
        else:
            assert told["emdata:0"]["total_act"] == line["values"]["energy_import_wh"]


@pytest.mark.xdist_group("told")
def test_every_interval_has_one_message_with_a_time_of_its_own(told: tuple[Received, list[dict]]) -> None:
    """E15: a clock of whole seconds must not put two readings into one second, or skip one."""
    received, _ = told
    plug = _device_times_us(received)["plug"]
    assert [later - earlier for earlier, later in itertools.pairwise(plug)] == [10**6] * (len(plug) - 1)
    kinds: dict[str, list[int]] = {"em:0": [], "emdata:0": []}
    for message in received.messages["house/events/rpc"]:
        ((kind, _),) = ((key, value) for key, value in message["params"].items() if key != "ts")
        kinds[kind].append(round(message["params"]["ts"] * 100))
    assert {b - a for a, b in zip(kinds["em:0"], kinds["em:0"][1:], strict=False)} == {20}
    assert {b - a for a, b in zip(kinds["emdata:0"], kinds["emdata:0"][1:], strict=False)} == {40}
    assert not set(kinds["em:0"]) & set(kinds["emdata:0"])


def test_a_restart_of_the_broker_loses_no_message(broker: MosquittoBroker, start_simulator) -> None:
    """E16: handing a message to the client is not success; the broker's acknowledgement is."""
    with _subscriber(broker.port) as received:
        simulator = start_simulator(FLEET.format(port=broker.port))
        received.wait(lambda: received.count("tele/plug/SENSOR") >= 1)
        broker.stop()
        before = len(simulator.lines())
        # What is told meanwhile waits for the broker.
        _until(lambda: len(simulator.lines()) - before >= 10)
        broker.start()
        received.wait(lambda: sum(map(received.count, received.messages)) > before + 10)
        assert simulator.stop() == (0, "")
        journalled = _journalled(simulator.lines())
        received.wait(
            lambda: all(set(times) == set(journalled[meter]) for meter, times in _device_times_us(received).items())
        )
    assert not [line for line in simulator.lines() if line["kind"] == "unacknowledged"]


def test_a_broker_that_is_not_there_yet_is_waited_for(broker: MosquittoBroker, start_simulator) -> None:
    broker.stop()
    simulator = start_simulator(FLEET.format(port=broker.port))
    time.sleep(1.0)
    assert simulator.process.poll() is None
    broker.start()
    assert simulator.ready()["event"] == "ready"
    assert simulator.stop() == (0, "")


def test_a_stop_without_a_broker_says_which_messages_never_left(broker: MosquittoBroker, start_simulator) -> None:
    with _subscriber(broker.port) as received:
        simulator = start_simulator(FLEET.format(port=broker.port))
        simulator.ready()
        received.wait(lambda: received.count("house/events/rpc") >= 2)
        broker.stop()
        before = len(simulator.lines())
        _until(lambda: len(simulator.lines()) - before >= 3)
        assert simulator.stop() == (0, "")
    lines = simulator.lines()
    withdrawn = {(line["meter"], line["seq"]) for line in lines if line["kind"] == "unacknowledged"}
    times = _device_times_us(received)
    missing = {
        (line["meter"], line["seq"])
        for line in lines
        if line["kind"] == "mqtt" and line["device_time_us"] not in times[line["meter"]]
    }
    assert missing
    assert missing <= withdrawn


def test_a_stop_while_waiting_for_the_broker_is_obeyed(broker: MosquittoBroker, start_simulator) -> None:
    broker.stop()
    simulator = start_simulator(FLEET.format(port=broker.port))
    while not _catches(simulator.process.pid, signal.SIGTERM):
        assert simulator.process.poll() is None
        time.sleep(0.05)
    assert simulator.stop() == (0, "")


def _catches(pid: int, number: signal.Signals) -> bool:
    [mask] = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)
