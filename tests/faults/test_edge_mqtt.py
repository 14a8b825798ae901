"""The gateway as a process at a broker: killed, away for long, flooded with garbage."""

import contextlib
import json
import os
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local.servers import MosquittoBroker
from tests.faults.disk import fill
from tests.integration.edge.brokers import publish
from tests.integration.edge.peers import EdgeProcess, Receiver, mqtt_table, wait_until

TOPIC = "tele/plug/SENSOR"
BOTH = pytest.mark.parametrize("version", ["3.1.1", "5"])


@pytest.fixture
def started() -> Iterator[Callable[[EdgeProcess], EdgeProcess]]:
    """Starts a gateway that does not outlive the test."""
    processes: list[EdgeProcess] = []

    def start(edge: EdgeProcess) -> EdgeProcess:
        edge.start()
        processes.append(edge)
        return edge

    yield start
    for edge in processes:
        if edge.process.poll() is None:
            edge.kill()


def _table(port: int, version: str) -> str:
    return mqtt_table(port).replace('client_id = "site"', f'client_id = "site"\nprotocol = "{version}"')


def _counts(receiver: Receiver) -> Counter[int]:
    return Counter(values["energy_import_wh"] for _, _, values in receiver.rows())


def _energy(number: int) -> bytes:
    return json.dumps({"ENERGY": {"Total": number / 1000}}).encode()


@pytest.mark.long
@BOTH
def test_an_edge_that_was_killed_and_down_for_an_hour_gets_what_the_broker_kept(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess], version: str
) -> None:
    """E13: an hour of a message every ten seconds, with a restart of the broker in it."""
    with Receiver() as receiver:
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=_table(broker.port, version))
        started(edge)
        wait_until(lambda: "broker connected" in edge.log)
        publish(broker.port, TOPIC, _energy(0))
        wait_until(lambda: _counts(receiver) == Counter([0]))
        edge.kill()
        publish(broker.port, TOPIC, *map(_energy, range(1, 181)))
        broker.stop()
        broker.start()
        publish(broker.port, TOPIC, *map(_energy, range(181, 361)))
        started(edge)
        wait_until(lambda: len(_counts(receiver)) == 361, timeout_s=40)
        assert edge.stop() == 0
        assert _counts(receiver) == Counter(range(361))


class _Relay:
    """Passes bytes between the gateway and the broker; while `deaf`, what the gateway says goes nowhere."""

    def __init__(self, broker: MosquittoBroker) -> None:
        self._broker_port = broker.port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.deaf = False

    def __enter__(self) -> "_Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                gateway, _ = self._server.accept()
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self._broker_port))
            threading.Thread(target=self._pass, args=(gateway, broker, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(broker, gateway, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, from_gateway: bool) -> None:
        with sink, contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not (from_gateway and self.deaf):
                    sink.sendall(data)
            # Closing alone would not end the other thread's wait, and so not the connection.
            sink.shutdown(socket.SHUT_RDWR)


@BOTH
def test_a_kill_between_commit_and_acknowledgement_doubles_nothing(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess], version: str
) -> None:
    """E13, E23: the buffer has them, the broker does not know, and delivers them again."""
    with Receiver() as receiver, _Relay(broker) as relay:
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=_table(relay.port, version))
        started(edge)
        wait_until(lambda: "broker connected" in edge.log)
        publish(broker.port, TOPIC, _energy(0))
        wait_until(lambda: len(_counts(receiver)) == 1)
        relay.deaf = True
        publish(broker.port, TOPIC, *map(_energy, range(1, 300)))
        wait_until(lambda: len(_counts(receiver)) == 300)
        edge.kill()
        relay.deaf = False
        started(edge)
        publish(broker.port, TOPIC, _energy(300))
        wait_until(lambda: len(_counts(receiver)) == 301, timeout_s=30)
        assert edge.stop() == 0
        assert _counts(receiver) == Counter(range(301))
        assert edge.status()["daemon"]["brokers"][0]["repeated"] == 299


def test_a_flood_of_garbage_is_counted_and_neither_fills_the_disk_nor_pushes_readings_out(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E13, E20: the newest are kept, of a tenth of the buffer's room; no receiver takes the readings away."""
    edge = EdgeProcess(folder=tmp_path, receiver_url="http://127.0.0.1:9", meters=mqtt_table(broker.port))
    edge.config.write_text(edge.config.read_text().replace("[buffer]", "[buffer]\nmax_bytes = 2097152"))
    started(edge)
    wait_until(lambda: "broker connected" in edge.log)
    publish(broker.port, TOPIC, *map(_energy, range(50)))
    garbage = [b"%06d" % number + os.urandom(12_000) for number in range(500)]
    publish(broker.port, TOPIC, *garbage)
    publish(broker.port, TOPIC, *map(_energy, range(50, 100)))
    wait_until(lambda: _buffered(edge)[0] == 100, timeout_s=40)
    assert edge.stop() == 0
    readings, held, newest = _buffered(edge)
    assert (readings, newest) == (100, garbage[-1])
    assert 100_000 < held <= 209_715
    assert sum(file.stat().st_size for file in edge.data_dir.glob("buffer.sqlite*")) < 40_000_000
    status = edge.status()
    assert status["daemon"]["brokers"][0]["rejected"] == 500
    assert status["stored"]["losses"] == []


def _buffered(edge: EdgeProcess) -> tuple[int, int, bytes | None]:
    """Readings, bytes of rejected messages and the newest of these in the buffer file."""
    with closing(sqlite3.connect(f"file:{edge.data_dir}/buffer.sqlite?mode=ro", uri=True, timeout=5)) as db:
        (readings,) = db.execute(
            "SELECT (SELECT coalesce(sum(readings), 0) FROM segment) + (SELECT coalesce(sum(readings), 0) FROM batch)"
        ).fetchone()
        (held,) = db.execute("SELECT coalesce(sum(length(payload)), 0) FROM rejected").fetchone()
        newest = db.execute("SELECT payload FROM rejected ORDER BY id DESC LIMIT 1").fetchone()
    return readings, held, newest[0] if newest else None


def test_a_full_disk_acknowledges_nothing_that_is_not_kept(
    tmp_path: Path, small_disk: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E13, E20: killed while the disk is full, or once there is room again, all of it is read, once."""
    ballast = small_disk / "ballast"
    with Receiver() as receiver:
        edge = EdgeProcess(folder=small_disk, receiver_url=receiver.url, meters=mqtt_table(broker.port))
        (small_disk / "edge.log").symlink_to(tmp_path / "edge.log")
        started(edge)
        wait_until(lambda: "broker connected" in edge.log)
        publish(broker.port, TOPIC, _energy(0))
        wait_until(lambda: len(_counts(receiver)) == 1)
        fill(ballast)
        publish(broker.port, TOPIC, *map(_energy, range(1, 300)))
        wait_until(lambda: "buffer unwritable" in edge.log)
        edge.kill()
        ballast.unlink()
        started(edge)
        wait_until(lambda: len(_counts(receiver)) == 300, timeout_s=40)
        fill(ballast)
        before = edge.log.count("buffer unwritable")
        publish(broker.port, TOPIC, *map(_energy, range(300, 600)))
        wait_until(lambda: edge.log.count("buffer unwritable") > before)
        ballast.unlink()
        wait_until(lambda: len(_counts(receiver)) == 600, timeout_s=40)
        assert edge.stop() == 0
        assert _counts(receiver) == Counter(range(600))


def test_a_stop_in_the_middle_of_a_burst_loses_and_doubles_nothing(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E13, E18"""
    with Receiver() as receiver:
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=mqtt_table(broker.port))
        started(edge)
        wait_until(lambda: "broker connected" in edge.log)
        stopped, sent = threading.Event(), [0]

        def burst() -> None:
            while not stopped.is_set():
                publish(broker.port, TOPIC, *map(_energy, range(sent[0], sent[0] + 50)))
                sent[0] += 50

        meters = threading.Thread(target=burst)
        meters.start()
        wait_until(lambda: len(_counts(receiver)) > 0)
        assert edge.stop() == 0
        before = sent[0]
        wait_until(lambda: sent[0] > before)
        stopped.set()
        meters.join()
        started(edge)
        wait_until(lambda: len(_counts(receiver)) == sent[0], timeout_s=40)
        assert edge.stop() == 0
        assert _counts(receiver) == Counter(range(sent[0]))


def test_a_refusal_of_the_broker_stands_in_the_status(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """Trouble that nobody sees is silence."""
    with Receiver() as receiver:
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=mqtt_table(broker.port))
        started(edge)
        wait_until(lambda: "broker connected" in edge.log)
        broker.kill()
        wait_until(lambda: (edge.data_dir / "status.json").exists())

        def trouble() -> str:
            time.sleep(0.2)
            return edge.status()["daemon"]["brokers"][0]["trouble"] or ""

        wait_until(lambda: "cannot be reached" in trouble(), timeout_s=30)
        broker.start()
        assert edge.stop() == 0
