"""The private broker: sessions survive its death, its port stays."""

from __future__ import annotations

import queue
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from local.servers import MosquittoBroker, PortTakenError


@contextmanager
def _connected(
    broker: MosquittoBroker, *, client_id: str, clean: bool
) -> Iterator[tuple[mqtt.Client, queue.Queue[str]]]:
    """A client, and what it receives; its session stays with the broker unless it is `clean`."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
    received: queue.Queue[str] = queue.Queue()
    arrived: queue.Queue[str] = queue.Queue()
    client.on_message = lambda _client, _data, message: received.put(message.payload.decode())
    client.on_connect = lambda *_: arrived.put("connected")
    client.on_subscribe = lambda *_: arrived.put("subscribed")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        arrived.get(timeout=10)
        if not clean:
            client.subscribe("tele/#", qos=1)
            arrived.get(timeout=10)
        yield client, received
    finally:
        client.disconnect()
        client.loop_stop()


def _publish(broker: MosquittoBroker, payloads: list[str]) -> None:
    with _connected(broker, client_id="meter", clean=True) as (client, _):
        for payload in payloads:
            client.publish("tele/plug-01/SENSOR", payload, qos=1).wait_for_publish(timeout=10)


@pytest.mark.parametrize("death", ["kill", "stop"])
def test_messages_for_an_absent_gateway_survive_the_brokers_death(broker: MosquittoBroker, death: str) -> None:
    """E13, E16: what the broker has acknowledged to a meter waits for the gateway."""
    sent = [f"reading {n}" for n in range(200)]
    with _connected(broker, client_id="gateway", clean=False):
        pass
    _publish(broker, sent)
    with _connected(broker, client_id="next", clean=True):
        pass  # the broker saves after each round of its loop, and this took several
    port = broker.port

    getattr(broker, death)()
    assert broker.pid is None
    broker.start()

    assert broker.port == port
    with _connected(broker, client_id="gateway", clean=False) as (_, received):
        assert [received.get(timeout=10) for _ in sent] == sent


def test_a_stale_pid_file_does_not_prevent_the_start(broker: MosquittoBroker) -> None:
    broker.kill()
    (broker.data_dir / "mosquitto.pid").write_text("1")
    assert broker.pid is None
    broker.start()
    assert broker.pid not in (None, 1)


def test_a_second_start_finds_the_running_broker(broker: MosquittoBroker) -> None:
    other = MosquittoBroker(data_dir=broker.data_dir)
    other.start()
    assert (other.pid, other.port) == (broker.pid, broker.port)


def test_it_listens_on_loopback_only(broker: MosquittoBroker) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    addresses = {
        fields[1].rpartition(":")[0]
        for fields in map(str.split, listening.splitlines())
        if len(fields) > 3 and fields[3] == "0A" and fields[1].endswith(f":{broker.port:04X}")
    }
    assert addresses == {"0100007F"}


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} .* taken"):
            MosquittoBroker(data_dir=tmp_path / "mq", port=port).start()


def test_a_kept_port_that_somebody_took_meanwhile_is_replaced(tmp_path: Path) -> None:
    broker = MosquittoBroker(data_dir=tmp_path / "mq", bound_to_parent=True)
    with broker:
        port = broker.port
    with socket.create_server(("127.0.0.1", port)), broker:
        assert broker.port != port
    shutil.rmtree(broker.data_dir)
