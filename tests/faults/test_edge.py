"""The gateway as a process, against meters, brokers and receivers that fail, and killed itself."""

import json
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from contract.notes import NoteKind
from edge.buffer.tables import decoded_note
from local.servers import MosquittoBroker
from tests.faults.disk import fill, remounted
from tests.integration.edge.peers import (
    EdgeProcess,
    ModbusMeters,
    Receiver,
    free_port,
    modbus_table,
    mqtt_table,
    wait_until,
)

_ENERGY = 0x0048
_POLL_S = 0.1


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


def _counts(receiver: Receiver, device: str) -> Counter[int]:
    return Counter(values["energy_import_wh"] for name, _, values in receiver.rows() if name == device)


class _Witness:
    """Commits to a file next to the buffer, as the buffer does; `longest_s` is how long one took at most, and its
    wake-up: how slow this disk and this machine are at the moment."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "witness.sqlite"
        self.longest_s = 0.0

    def __enter__(self) -> "_Witness":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        with closing(sqlite3.connect(self._file)) as db:
            db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE kept (n)")
            while not self._stop.is_set():
                began_s = time.monotonic()
                time.sleep(0.02)
                db.execute("INSERT INTO kept VALUES (1)")
                db.commit()
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)


def _assert_only_the_newest_are_lost(
    served: list[tuple[int, int]], got: Counter[int], ends: list[tuple[int, int]], window_s: float
) -> None:
    """Of every run, whose `ends` are how many had been served and when it was killed: all but the last few are there,
    and those few are not older than `window_s`."""
    begin = 0
    for end, killed_us in ends:
        lost = [at for at in range(begin, end) if served[at][1] not in got]
        assert lost == list(range(end - len(lost), end))
        assert len(lost) < end - begin
        assert all((killed_us - served[at][0]) / 1e6 <= window_s for at in lost)
        begin = end
    assert all(number in got for _, number in served[begin:])
    assert max(got.values()) == 1


def _settled(port: int, unit: int) -> None:
    """Wait until the server has answered all that came before: two round trips of another client behind it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for number in (1, 2):
            client.sendall(struct.pack(">HHHBBHH", number, 0, 6, unit, 4, 0, 2))
            assert client.recv(100)


def _longest_loss_s(edge: EdgeProcess, witness: _Witness) -> float:
    """How old a lost reading may be: what waits for the window, is polled in between, or in an unfinished commit; and
    three times the machine may be slow, to take the reply, to begin the commit and to end the one before."""
    return edge.commit_interval_s + _POLL_S + 3 * witness.longest_s


def test_kill_9_loses_at_most_the_commit_window_and_doubles_nothing(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E18, E19, E23: three kills in the middle; the receiver is the witness, the meters' own counts the truth."""
    units = [1, 2]
    with Receiver() as receiver, ModbusMeters(units) as meters, _Witness(tmp_path) as witness:
        served = {unit: meters.count(unit, _ENERGY) for unit in units}
        table = modbus_table(meters.port, units, interval_s=_POLL_S, timeout_s=5)
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table)
        ends: dict[int, list[tuple[int, int]]] = {unit: [] for unit in units}
        for polls in (22, 17, 19):
            started(edge)
            until = len(served[1]) + polls
            wait_until(lambda until=until: len(served[1]) >= until, timeout_s=30)
            killed_us = edge.kill()
            _settled(meters.port, 1)
            for unit in units:
                ends[unit].append((len(served[unit]), killed_us))
        started(edge)
        count = len(served[1])
        wait_until(lambda: len(served[1]) > count + 3)
        assert edge.stop() == 0
        for unit in units:
            got = _counts(receiver, f"meter-{unit}")
            _assert_only_the_newest_are_lost(served[unit], got, ends[unit], _longest_loss_s(edge, witness))


@pytest.mark.long
def test_without_a_commit_window_a_kill_loses_the_poll_in_flight_at_most(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E18: every reading is on disk before the bus asks for the next."""
    with Receiver() as receiver, ModbusMeters([1, 2]) as meters:
        served = {unit: meters.count(unit, _ENERGY) for unit in (1, 2)}
        table = modbus_table(meters.port, [1, 2], interval_s=0.05)
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table, commit_interval_s=0)
        for _ in range(3):
            started(edge)
            count = len(served[1])
            wait_until(lambda count=count: len(served[1]) > count + 10)
            edge.kill()
        started(edge)
        count = len(served[1])
        wait_until(lambda: len(served[1]) > count + 10)
        assert edge.stop() == 0
        lost = [
            (unit, number)
            for unit, counts in served.items()
            for _, number in counts
            if number not in _counts(receiver, f"meter-{unit}")
        ]
        assert len(lost) <= 3


def _tells_of_a_stop(receiver: Receiver) -> bool:
    batches = list(receiver.batches.values())
    return any(note.kind is NoteKind.NOT_RUNNING for batch in batches for note in batch.notes)


def _tells_of_overruns_on_disk(edge: EdgeProcess) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{edge.data_dir}/buffer.sqlite?mode=ro", uri=True)) as db:
            bodies = [body for [body] in db.execute("SELECT body FROM note")]
    except sqlite3.Error:
        return False
    told = [decoded_note(body) for body in bodies]
    return any(note is not None and note.kind is NoteKind.OVERRUN for note in told)


@pytest.mark.long
def test_polls_that_a_line_was_too_busy_for_are_told_once_and_survive_kill_9(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E18: of those that were told to the disk none is gone, and no gap of a run is left without its reason."""
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        receiver.clock_us = lambda: time.time_ns() // 1000
        receiver.judge = lambda batch: 503
        meters.delay_s[1] = 0.15
        table = modbus_table(meters.port, [1], interval_s=0.1, timeout_s=2.0)
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table))
        wait_until(lambda: _tells_of_overruns_on_disk(edge), timeout_s=40)
        killed_us = edge.kill()
        receiver.judge = lambda batch: None
        before = len(receiver.rows())
        started(edge)
        # The note of the stop may come after the first readings of the backlog.
        wait_until(lambda: len(receiver.rows()) > before + 10 and _tells_of_a_stop(receiver), timeout_s=20)
        assert edge.stop() == 0
    notes = [note for batch in receiver.batches.values() for note in batch.notes]
    [stopped] = [note for note in notes if note.kind is NoteKind.NOT_RUNNING]
    left_out = sorted((note.first_us, note.last_us) for note in notes if note.kind is NoteKind.OVERRUN)
    read_us = sorted(time_us for _, time_us, _ in receiver.rows())
    first_read_us = [read_us[0], min(time_us for time_us in read_us if time_us > stopped.last_us)]
    others = [note for note in notes if note.kind not in (NoteKind.OVERRUN, NoteKind.NOT_RUNNING)]
    # From a start to its first reading may be over a second on a busy machine: that is told as a silence, and is one.
    first_polls = [
        note
        for note in others
        if note.kind is NoteKind.SILENT and any(note.first_us <= us <= note.last_us + 1000 for us in first_read_us)
    ]
    assert [note for note in others if note not in first_polls] == []
    assert len(first_polls) <= 2
    assert 2 <= len(left_out) <= 3
    assert all(earlier[1] < later[0] for earlier, later in pairwise(left_out))
    told_us = max(last for _, last in left_out if last < killed_us)
    gaps = [gap for gap in pairwise(read_us) if gap[1] - gap[0] > 150_000]
    # A stop ends when the gateway is there again; its first poll takes a while after that.
    spans = [*left_out, (stopped.first_us, stopped.last_us + 5_000_000), (told_us, killed_us)]
    assert len(gaps) > 20
    assert [gap for gap in gaps if not any(first <= gap[0] + 1 and gap[1] <= last for first, last in spans)] == []
    assert told_us - left_out[0][0] >= 10_000_000


def test_a_clean_stop_loses_nothing(tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]) -> None:
    """E18: a commit window of a minute, and everything that was served is at the receiver when the process ends."""
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        served = meters.count(1, _ENERGY)
        table = modbus_table(meters.port, [1])
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table, commit_interval_s=60))
        wait_until(lambda: len(served) > 10)
        assert edge.stop() == 0
        assert _counts(receiver, "meter-1") == Counter(number for _, number in served)
        assert edge.status()["stored"]["backlog"]["readings"] == 0


def test_an_outage_of_the_receiver_with_a_kill_in_it_loses_nothing_committed(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E16, E17, E18: readings wait on disk from the first second of the outage."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ModbusMeters([1]) as meters, _Witness(tmp_path) as witness:
        served = meters.count(1, _ENERGY)
        table = modbus_table(meters.port, [1], interval_s=_POLL_S, timeout_s=5)
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=url, meters=table))
        wait_until(lambda: len(served) > 15)
        killed_us = edge.kill()
        _settled(meters.port, 1)
        end = len(served)
        status = edge.status()
        assert not status["running"]
        assert status["stored"]["backlog"]["readings"] > 0
        started(edge)
        wait_until(lambda: len(served) > end + 10)
        with Receiver(port) as receiver:
            wait_until(lambda: bool(receiver.rows()), timeout_s=30)
            assert edge.stop() == 0
            got = _counts(receiver, "meter-1")
    _assert_only_the_newest_are_lost(served, got, [(end, killed_us)], _longest_loss_s(edge, witness))


@contextmanager
def _publishing(port: int, numbers: range, pause_s: float) -> Iterator[None]:
    """Publishes messages of these `numbers` without a clock, each one until the broker has it."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="meters", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish() -> None:
        for number in numbers:
            payload = json.dumps({"ENERGY": {"Total": number / 1000, "Power": 1}})
            sent = client.publish("tele/plug/SENSOR", payload, qos=1)
            # Neither `wait_for_publish` nor `is_published` outlive a lost connection, although the message does.
            wait_until(lambda sent=sent: sent._published, timeout_s=30)
            time.sleep(pause_s)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(60)
        client.disconnect()
        client.loop_stop()


def test_kill_9_neither_loses_nor_doubles_a_message_of_the_broker(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E13, E23: what was not committed comes again; what was committed and not acknowledged is known."""
    with Receiver() as receiver:
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=mqtt_table(broker.port))
        started(edge)
        wait_until(lambda: "broker connected" in edge.log)
        with _publishing(broker.port, range(1, 401), 0.01):
            for pause_s in (1.2, 1.7):
                time.sleep(pause_s)
                edge.kill()
                started(edge)
        wait_until(lambda: len(_counts(receiver, "plug")) == 400, timeout_s=20)
        assert edge.stop() == 0
        assert _counts(receiver, "plug") == Counter(range(1, 401))


def test_a_broker_that_restarts_costs_nothing(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E11, E13"""
    with Receiver() as receiver:
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=mqtt_table(broker.port)))
        wait_until(lambda: "broker connected" in edge.log)
        with _publishing(broker.port, range(1, 201), 0.01):
            time.sleep(0.8)
            broker.stop()
            time.sleep(0.3)
            broker.start()
        wait_until(lambda: len(_counts(receiver, "plug")) == 200, timeout_s=40)
        assert edge.stop() == 0
        assert set(_counts(receiver, "plug")) == set(range(1, 201))


def test_a_broker_that_is_killed_costs_nothing_of_what_it_had_written(
    tmp_path: Path, broker: MosquittoBroker, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E11, E13: what it had sent to the gateway and the gateway had not taken is in its file, and comes again."""
    with Receiver() as receiver:
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=mqtt_table(broker.port)))
        wait_until(lambda: "broker connected" in edge.log)
        with _publishing(broker.port, range(1, 101), 0.01):
            time.sleep(0.5)
            edge.process.send_signal(signal.SIGSTOP)
        broker.save()
        wait_until(lambda: b'"Total": 0.1,' in (broker.data_dir / "sessions.db").read_bytes())
        broker.kill()
        broker.start()
        edge.process.send_signal(signal.SIGCONT)
        with _publishing(broker.port, range(101, 201), 0.01):
            pass
        wait_until(lambda: len(_counts(receiver, "plug")) == 200, timeout_s=40)
        assert edge.stop() == 0
        assert _counts(receiver, "plug") == Counter(range(1, 201))


def test_a_full_disk_stops_no_polling_and_what_waited_is_kept_once_there_is_room(
    small_disk: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E20"""
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        served = meters.count(1, _ENERGY)
        edge = EdgeProcess(folder=small_disk, receiver_url=receiver.url, meters=modbus_table(meters.port, [1]))
        started(edge)
        wait_until(lambda: len(served) > 5)
        ballast = small_disk / "ballast"
        fill(ballast)
        count = len(served)
        wait_until(lambda: len(served) > count + 30, timeout_s=20)
        stored = len(_counts(receiver, "meter-1"))
        ballast.unlink()
        wait_until(lambda: len(_counts(receiver, "meter-1")) > stored + 30, timeout_s=20)
        assert edge.stop() == 0
        assert _counts(receiver, "meter-1") == Counter(number for _, number in served)


def test_a_disk_that_is_full_at_the_start_stops_no_polling_and_costs_no_reading(
    tmp_path: Path, small_disk: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E20: what is read waits in memory until there is a buffer."""
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        served = meters.count(1, _ENERGY)
        edge = EdgeProcess(folder=small_disk, receiver_url=receiver.url, meters=modbus_table(meters.port, [1]))
        edge.data_dir.mkdir()
        (small_disk / "edge.log").symlink_to(tmp_path / "edge.log")
        fill(small_disk / "ballast")
        started(edge)
        wait_until(lambda: len(served) > 20, timeout_s=20)
        assert "buffer unwritable" in edge.log
        assert "Traceback" not in edge.log
        (small_disk / "ballast").unlink()
        wait_until(lambda: len(receiver.rows()) > 20, timeout_s=20)
        assert edge.stop() == 0
        assert _counts(receiver, "meter-1") == Counter(number for _, number in served)


def test_a_disk_that_is_read_only_at_the_start_stops_no_polling_and_costs_no_reading(
    tmp_path: Path, small_disk: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E20: nobody can make it so under a gateway that runs, but a disk that fails; the torture's disks do."""
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        served = meters.count(1, _ENERGY)
        edge = EdgeProcess(folder=small_disk, receiver_url=receiver.url, meters=modbus_table(meters.port, [1]))
        (small_disk / "edge.log").symlink_to(tmp_path / "edge.log")
        started(edge)
        wait_until(lambda: len(receiver.rows()) > 5)
        assert edge.stop() == 0
        remounted(small_disk, "ro")
        count = len(served)
        started(edge)
        wait_until(lambda: len(served) > count + 20, timeout_s=20)
        remounted(small_disk, "rw")
        wait_until(lambda: len(receiver.rows()) > count + 20, timeout_s=20)
        assert edge.stop() == 0
        assert _counts(receiver, "meter-1") == Counter(number for _, number in served)
        assert "Traceback" not in edge.log


def test_a_second_daemon_on_the_same_buffer_is_refused(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        table = modbus_table(meters.port, [1])
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table))
        wait_until(lambda: "running" in edge.log)
        second = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table)
        assert second.start().wait(10) == 1
        assert f"in use by another segs-edge, pid {edge.process.pid}" in edge.log
        assert edge.stop() == 0


def test_a_damaged_buffer_does_not_keep_the_gateway_from_starting(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """E21"""
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=modbus_table(meters.port, [1]))
        edge.data_dir.mkdir()
        (edge.data_dir / "buffer.sqlite").write_bytes(b"no database at all" * 500)
        started(edge)
        wait_until(lambda: len(receiver.rows()) > 3)
        assert edge.stop() == 0
        assert edge.status()["stored"]["set_aside"].startswith(str(edge.data_dir / "buffer.sqlite.damaged-"))


def test_the_service_manager_hears_of_start_life_and_stop(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    with Receiver() as receiver, ModbusMeters([1]) as meters, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.bind(str(tmp_path / "notify"))
        bus.settimeout(10)
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=modbus_table(meters.port, [1]))
        edge.start({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1500000"})
        heard: list[bytes] = []
        while b"WATCHDOG=1" not in heard or not any(message.startswith(b"STATUS=1 meters") for message in heard):
            heard.append(bus.recv(500))
        edge.process.send_signal(signal.SIGINT)
        while heard[-1] != b"STOPPING=1":
            heard.append(bus.recv(500))
        assert edge.process.wait(10) == 0
    assert heard[0] == b"READY=1"


def _drain(bus: socket.socket) -> None:
    """Receive until nothing comes for the socket's time-out; raises TimeoutError then."""
    while True:
        bus.recv(500)


def test_a_frozen_gateway_stops_feeding_the_watchdog(
    tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]
) -> None:
    """The datagrams come from the loop that polls: no loop, no life sign."""
    with Receiver() as receiver, ModbusMeters([1]) as meters, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.bind(str(tmp_path / "notify"))
        bus.settimeout(1.5)
        edge = EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=modbus_table(meters.port, [1]))
        edge.start({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"})
        wait_until(lambda: "running" in edge.log)
        edge.process.send_signal(signal.SIGSTOP)
        frozen_s = time.monotonic()
        with pytest.raises(TimeoutError):
            _drain(bus)
        assert time.monotonic() - frozen_s < 4
        edge.kill()


def test_status_tells_of_a_running_gateway(tmp_path: Path, started: Callable[[EdgeProcess], EdgeProcess]) -> None:
    with Receiver() as receiver, ModbusMeters([1]) as meters:
        table = modbus_table(meters.port, [1, 7], timeout_s=0.2)
        meters.delay_s[1] = 0
        edge = started(EdgeProcess(folder=tmp_path, receiver_url=receiver.url, meters=table))
        wait_until(lambda: len(receiver.rows()) > 5)
        running = edge.status()
        assert edge.stop() == 0
        stopped = edge.status()
    assert (running["running"], stopped["running"]) == (True, False)
    assert running["loss_window_s"] == 0.5
    assert stopped["stored"]["synced_readings"] == len(receiver.rows())
    assert stopped["stored"]["last_receipt_seq"] == len(receiver.batches)
    devices = {device["device"]: device for device in stopped["daemon"]["devices"]}
    assert devices["meter-1"]["readings"] == len(receiver.rows())
    assert devices["meter-7"]["readings"] == 0
    assert devices["meter-7"]["errors"] > 0
