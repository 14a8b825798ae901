"""The receiver and clients that never end: sockets half open, headers byte by byte, large bodies by the dozen."""

import os
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from cloud.gateways.key import Key
from contract.batch import Batch, DeviceBlock
from contract.codec import MSGPACK, compress, encode
from tests.faults.test_receiver import KEY, Process
from tests.integration.conftest import STREAM, register

FILES = 256
HEAD = f"POST /ingest/v1/batches HTTP/1.1\r\nhost: x\r\ncontent-type: {MSGPACK}\r\n"


@pytest.fixture
def receiver(telemetry_db: str, free_port: Callable[[], int]) -> Iterator[Process]:
    """One that may open no more than 256 files."""
    register(telemetry_db, KEY)
    running = Process(
        telemetry_db, free_port(), KEY, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    )
    try:
        running.answers()
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def _connect(receiver: Process) -> socket.socket:
    host, port = receiver.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


@contextmanager
def _half_open(receiver: Process, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(_connect(receiver)) for _ in range(count)]
        for one in sockets:
            try:
                one.sendall(said)
            except OSError:
                continue  # it had to make room
        yield sockets


def _closed_within(one: socket.socket, seconds: float) -> bool:
    one.settimeout(seconds)
    try:
        while one.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def _cut(receiver: Process, why: str) -> float:
    text = httpx.get(receiver.url + "/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith(f'segs_http_connections_cut_total{{why="{why}"}}')]
    return float(line.split()[-1])


@pytest.mark.long
@pytest.mark.parametrize("said", [b"", b"POST /ingest/v1/ba", HEAD.encode() + b"x-a: b\r\n"])
def test_hundreds_of_half_open_connections_keep_no_gateway_out(receiver: Process, said: bytes) -> None:
    """E30: 270 sockets that said nothing shut a receiver with 256 files until they were closed."""
    with _half_open(receiver, 600, said):
        for seq in (1, 2, 3):
            assert receiver.send(seq).status_code == 200

        assert _cut(receiver, "made_room") >= 600 - FILES
        assert len(os.listdir(f"/proc/{receiver.process.pid}/fd")) < FILES


def test_a_gateway_that_is_connected_is_not_the_one_that_makes_room(receiver: Process) -> None:
    kept = httpx.Limits(keepalive_expiry=60)
    with httpx.Client(base_url=receiver.url, headers=receiver.headers, limits=kept) as gateway:
        first = gateway.post("/ingest/v1/batches", content=receiver.body(1))
        stream = first.extensions["network_stream"]
        own = stream.get_extra_info("socket").getsockname()
        with _half_open(receiver, 600):
            second = gateway.post("/ingest/v1/batches", content=receiver.body(2))

        assert (first.status_code, second.status_code) == (200, 200)
        assert second.extensions["network_stream"].get_extra_info("socket").getsockname() == own


@pytest.mark.long
def test_headers_that_never_end_are_cut(receiver: Process) -> None:
    """Byte by byte they would otherwise hold a connection for ever."""
    with _connect(receiver) as slow, _connect(receiver) as mute:
        begun = time.monotonic()
        slow.sendall(HEAD.encode())
        slow.settimeout(0.5)
        while time.monotonic() - begun < 20:
            try:
                slow.sendall(b"x")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break

        assert 8 < time.monotonic() - begun < 15
        assert _closed_within(mute, 5)
        assert receiver.send().status_code == 200


def test_headers_without_end_are_cut_at_their_size(receiver: Process) -> None:
    with _connect(receiver) as client:
        client.sendall(HEAD.encode())
        with suppress(ConnectionError):
            for _ in range(10_000):
                client.sendall(b"x-a: " + b"b" * 1000 + b"\r\n")
                time.sleep(0.0001)

    assert _cut(receiver, "large") == 1


@pytest.mark.long
def test_a_body_after_its_answer_is_not_waited_for_without_end(receiver: Process) -> None:
    """The key is wrong, the answer is there, and the client goes on sending: its deadline is not prolonged by that."""
    head = HEAD + "authorization: Bearer segs_wrong\r\ncontent-length: 1000000\r\n\r\n"
    with _connect(receiver) as client:
        client.sendall(head.encode())
        assert b"401" in client.recv(4096)
        begun = time.monotonic()
        while not _closed_within(client, 1) and time.monotonic() - begun < 45:
            client.sendall(b"x")

        assert 25 < time.monotonic() - begun < 40
        assert receiver.send().status_code == 200


def test_an_answer_that_came_before_the_end_of_the_body_leaves_the_connection_usable(receiver: Process) -> None:
    """A gateway that is told to come again later need not connect again."""
    head = HEAD + "authorization: Bearer {}\r\ncontent-length: 300000\r\n\r\n"
    with _connect(receiver) as client:
        client.sendall(head.format("segs_wrong").encode())
        assert b"401" in _answer(client)
        client.sendall(bytes(300_000))

        client.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")

        assert b"200 OK" in _answer(client)


def _answer(client: socket.socket) -> bytes:
    """Headers and body of one answer, in however many pieces they come."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += _more(client)
    head, _, body = found.partition(b"\r\n\r\n")
    [length] = re.findall(rb"(?im)^content-length: (\d+)", head)
    while len(body) < int(length):
        body += _more(client)
    return head + body


def _more(client: socket.socket) -> bytes:
    part = client.recv(4096)
    assert part, "it was closed in the middle of an answer"
    return part


def _keys(dsn: str, count: int) -> list[Key]:
    keys = [Key.generate() for _ in range(count)]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number, key in enumerate(keys, start=2):
            connection.execute("INSERT INTO gateway_registry VALUES (%s, %s, %s)", [number, f"g{number}", [key.digest]])
    return keys


def _resident_mib(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.long
def test_many_large_bodies_that_stall_take_bounded_memory(receiver: Process, telemetry_db: str) -> None:
    """E30: 40 gateways send 4 MiB each and stop before the end. Live batches of another get in."""
    keys = _keys(telemetry_db, 40)
    receiver.send()
    before_mib = _resident_mib(receiver.process.pid)
    with ExitStack() as stack:
        answers = []
        for key in keys:
            client = stack.enter_context(_connect(receiver))
            head = HEAD + f"authorization: Bearer {key.text}\r\ncontent-length: {4 * 2**20}\r\n\r\n"
            client.sendall(head.encode())
            client.settimeout(0.5)
            try:
                client.sendall(bytes(4 * 2**20 - 1))
                answers.append(client.recv(12))
            except (TimeoutError, ConnectionError):
                answers.append(b"")

        # 32 places of 4 MiB, twice while a buffer grows into a larger one.
        assert _resident_mib(receiver.process.pid) - before_mib < 2 * 32 * 4
        assert sum(answer.endswith(b"503") for answer in answers) >= 8
    assert _within(20, lambda: receiver.send(2).status_code == 200)


@pytest.mark.long
def test_many_batches_that_grow_a_hundredfold_take_bounded_memory(receiver: Process, telemetry_db: str) -> None:
    """E24, E30: each is a few kilobytes on the wire and 8 MB of numbers in memory; all of them are taken in the end."""
    keys = _keys(telemetry_db, 40)
    receiver.send()
    before_mib, largest_mib = _resident_mib(receiver.process.pid), 0.0
    times = [time.time_ns() // 1000 - 60_000_000] * 45_000
    values = {f"quantity_{n}": [1.5] * len(times) for n in range(17)}
    body = compress(encode(Batch(1, STREAM, 1, [DeviceBlock("main", times, values)])), "zstd")
    assert len(body) < 50_000

    def deliver(key: Key) -> int:
        headers = receiver.headers | {"authorization": f"Bearer {key.text}"}
        return httpx.post(f"{receiver.url}/ingest/v1/batches", content=body, headers=headers, timeout=120).status_code

    with ThreadPoolExecutor(len(keys)) as threads:
        answers = [threads.submit(deliver, key) for key in keys]
        while not all(answer.done() for answer in answers):
            largest_mib = max(largest_mib, _resident_mib(receiver.process.pid))
            time.sleep(0.02)

    found = [answer.result() for answer in answers]
    assert set(found) <= {200, 503}
    assert 503 in found
    assert largest_mib - before_mib < 600
    assert _within(20, lambda: receiver.send(2).status_code == 200)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
