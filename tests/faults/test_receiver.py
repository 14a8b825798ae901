"""The receiver as a process: its database away, its schema unknown, itself killed, too much at once."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import LiteralString

import httpx
import msgspec
import psycopg
import pytest

from cloud.gateways.key import Key
from cloud.ingest.admission import Admission
from cloud.ingest.errors import TooManyRequests, Unavailable
from cloud.schema.apply import apply
from contract.answer import CREDIT
from contract.codec import MSGPACK, PACKED, compress, encode
from contract.notes import Note, NoteKind
from local.servers import PostgresServer
from tests.integration.conftest import batch, register

COUNTED: LiteralString = "SELECT count(*) FROM raw_readings WHERE time > now() - INTERVAL '1 hour'"


class Process:
    """A real `segs-cloud serve` and a client with a valid key."""

    def __init__(self, dsn: str, port: int, key: Key, before_start: Callable[[], None] | None = None) -> None:
        command = [sys.executable, "-m", "cloud", "serve", "--port", str(port)]
        self.url, self.key = f"http://127.0.0.1:{port}", key
        self.headers = {
            "authorization": f"Bearer {key.text}",
            "content-type": MSGPACK,
            "content-encoding": "zstd",
        }
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"SEGS_TELEMETRY_DSN": dsn},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before_start,
        )

    def body(self, seq: int = 1, rows: int = 3) -> bytes:
        now_us = time.time_ns() // 1_000_000_000 * 1_000_000 - 60_000_000
        return compress(encode(batch(seq, rows=rows, first_us=now_us + seq * 1000)), "zstd")

    def send(self, seq: int = 1, rows: int = 3) -> httpx.Response:
        url = f"{self.url}/ingest/v1/batches"
        return httpx.post(url, content=self.body(seq, rows), headers=self.headers, timeout=20)

    def answers(self, path: str = "/readyz", status: int = 200) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if httpx.get(self.url + path, timeout=5).status_code == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{path} does not answer {status}")


Start = Callable[[str], Process]


@pytest.fixture
def start(free_port: Callable[[], int]) -> Iterator[Start]:
    """Starts receivers; their database's registry must know `KEY`."""
    running: list[Process] = []

    def start_(dsn: str) -> Process:
        running.append(Process(dsn, free_port(), KEY))
        return running[-1]

    yield start_
    for one in running:
        one.process.kill()
        one.process.communicate()


KEY = Key.generate()


@contextmanager
def own_server(folder_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that this test may kill, with the telemetry schema in the database `postgres`."""
    with PostgresServer(data_dir=folder_factory.mktemp("pg"), bound_to_parent=True) as server:
        apply(server.dsn(), "telemetry")
        register(server.dsn(), KEY)
        yield server


def count(dsn: str, query: LiteralString = COUNTED) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.long
def test_a_database_that_is_away_at_the_start_and_in_the_middle_costs_nothing(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """C13: health stays green after the database is gone. C3: a batch that met a dead database is lost."""
    with own_server(tmp_path_factory) as server:
        dsn = server.dsn()
        server.kill()
        receiver = start(dsn)
        receiver.answers("/livez")
        receiver.answers("/readyz", 503)
        refused = receiver.send(1)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")

        server.start()
        receiver.answers("/readyz")
        assert receiver.send(1).json()["stored"] == 3

        server.kill()
        assert receiver.send(2).status_code == 503
        server.start()
        receiver.answers("/readyz")
        assert receiver.send(2).json()["stored"] == 3
        assert count(dsn) == 6


def test_a_receiver_refuses_a_schema_that_it_does_not_know(start: Start, telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_version (version, master) VALUES (999, 'telemetry')")

    receiver = start(telemetry_db)

    _, said = receiver.process.communicate(timeout=20)
    assert receiver.process.returncode == 1
    assert "is at schema version 999" in said
    assert "Traceback" not in said


def test_a_receiver_killed_within_its_transaction_leaves_nothing_of_it(start: Start, telemetry_db: str) -> None:
    """C3: the dedupe key is set, and the readings are lost."""
    register(telemetry_db, KEY)
    first, second = start(telemetry_db), start(telemetry_db)
    first.answers()
    second.answers()
    body = compress(encode(batch(1, first_us=time.time_ns() // 1000 - 60_000_000)), "zstd")
    blocker = psycopg.connect(telemetry_db)
    blocker.execute("LOCK TABLE dirty_meters IN EXCLUSIVE MODE")
    kill = _later(0.8, first.process.kill)
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{first.url}/ingest/v1/batches", content=body, headers=first.headers, timeout=20)
    kill()
    blocker.rollback()
    blocker.close()

    answer = httpx.post(f"{second.url}/ingest/v1/batches", content=body, headers=second.headers, timeout=20)

    assert answer.json()["stored"] == 3
    assert count(telemetry_db) == 3


@pytest.mark.parametrize("media_type", [MSGPACK, PACKED])
def test_a_receiver_killed_between_commit_and_reply_gives_the_first_answer_to_the_repeat(
    start: Start, telemetry_db: str, media_type: str
) -> None:
    """E23: a reply that is lost after the commit doubles the batch."""
    register(telemetry_db, KEY)
    first, second = start(telemetry_db), start(telemetry_db)
    first.answers()
    second.answers()
    noted = msgspec.structs.replace(
        batch(1, first_us=time.time_ns() // 1000 - 60_000_000), version=2, notes=[Note(NoteKind.SILENT, 0, 1)]
    )
    body = compress(encode(noted, media_type), "zstd")
    headers = first.headers | {"content-type": media_type}
    host, port = first.url.removeprefix("http://").split(":")
    head = "POST /ingest/v1/batches HTTP/1.1\r\nhost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        while count(telemetry_db) == 0:
            time.sleep(0.01)
        first.process.kill()

    answer = httpx.post(f"{second.url}/ingest/v1/batches", content=body, headers=headers, timeout=20)

    assert (answer.status_code, answer.json()["stored"], answer.json()["duplicates"]) == (200, 3, 0)
    assert count(telemetry_db) == 3
    assert count(telemetry_db, "SELECT count(*) FROM gateway_notes") == 1


def _later(delay_s: float, action: Callable[[], None]) -> Callable[[], None]:
    """Do `action` in `delay_s`, in a thread; call the result to join it."""
    timer = threading.Timer(delay_s, action)
    timer.start()
    return timer.join


def test_two_receivers_that_get_one_batch_at_once_store_it_once(start: Start, telemetry_db: str) -> None:
    """C3, C11, E23: each takes it for new, or one answers before the other has committed."""
    register(telemetry_db, KEY)
    receivers = [start(telemetry_db), start(telemetry_db)]
    for one in receivers:
        one.answers()
    first_us = time.time_ns() // 1000 - 10**9
    bodies = [compress(encode(batch(n, rows=500, first_us=first_us)), "zstd") for n in (1, 2, 3)]

    async def both() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=30) as client:
            posts = [
                client.post(f"{one.url}/ingest/v1/batches", content=body, headers=one.headers)
                for body in bodies
                for one in receivers
            ]
            return await asyncio.gather(*posts)

    answers = asyncio.run(both())

    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["stored"] for answer in answers[::2]) == 500
    assert [answer.content for answer in answers[::2]] == [answer.content for answer in answers[1::2]]
    assert count(telemetry_db) == 500


def test_a_stop_finishes_the_batch_under_way(start: Start, telemetry_db: str) -> None:
    """C6: a clean stop loses what is in memory."""
    register(telemetry_db, KEY)
    receiver = start(telemetry_db)
    receiver.answers()
    blocker = psycopg.connect(telemetry_db)
    blocker.execute("LOCK TABLE dirty_meters IN EXCLUSIVE MODE")
    stop = _later(0.7, receiver.process.terminate)
    release = _later(1.5, blocker.commit)

    answer = receiver.send()

    stop()
    release()
    blocker.close()
    assert answer.json()["stored"] == 3
    assert receiver.process.wait(timeout=20) == 0


def test_a_body_that_never_ends_is_given_up(start: Start, telemetry_db: str) -> None:
    register(telemetry_db, KEY)
    receiver = start(telemetry_db)
    receiver.answers()
    host, port = receiver.url.removeprefix("http://").split(":")
    head = f"POST /ingest/v1/batches HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY.text}\r\n"
    head += f"content-type: {MSGPACK}\r\ncontent-length: 1000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(head.encode() + b"x")

        assert receiver.send().status_code == 200


class _Client:
    """A gateway that asks before it sends a body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        self._reader, self._writer, self._headers = reader, writer, headers

    @classmethod
    async def connected(cls, receiver: Process, key: Key) -> "_Client":
        host, port = receiver.url.removeprefix("http://").split(":")
        headers = receiver.headers | {"authorization": f"Bearer {key.text}", "expect": "100-continue"}
        return cls(*await asyncio.open_connection(host, int(port)), headers)

    def send_head(self, length: int) -> None:
        said = {"host": "x", "content-length": str(length), "connection": "close", **self._headers}
        self.send(b"POST /ingest/v1/batches HTTP/1.1\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in said.items()))
        self.send(b"\r\n")

    def send(self, part: bytes) -> None:
        self._writer.write(part)

    async def interim(self) -> int:
        """The status of an answer that is nothing but one."""
        return int((await self._reader.readuntil(b"\r\n\r\n")).split()[1])

    async def answer(self) -> httpx.Response:
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        self._writer.close()
        return httpx.Response(int(status.split()[1]), headers=[tuple(line.split(": ", 1)) for line in lines])


def test_what_a_hanging_database_has_no_room_for_is_turned_away_at_once(start: Start, telemetry_db: str) -> None:
    """E24, C13: batches queue up in memory until a time-out, and every gateway sends more meanwhile."""
    register(telemetry_db, KEY)
    keys = [Key.generate() for _ in range(40)]
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        for number, key in enumerate(keys, start=2):
            connection.execute("INSERT INTO gateway_registry VALUES (%s, %s, %s)", [number, str(number), [key.digest]])
    receiver = start(telemetry_db)
    receiver.answers()
    body = receiver.body()

    async def all_at_once(blocker: psycopg.Connection) -> list[httpx.Response]:
        clients = [await _Client.connected(receiver, key) for key in keys]
        # Who may send its body has a place. So the seconds that a batch waits for a connection to the database are not
        # spent on 32 that come in one by one.
        placed, too_many = clients[:32], clients[32:]
        for one in placed:
            one.send_head(len(body))
        for one in placed:
            assert await one.interim() == 100
        for one in placed:
            one.send(body)
        for one in too_many:
            one.send_head(len(body))
        refused = [await asyncio.wait_for(one.answer(), timeout=4) for one in too_many]
        blocker.commit()
        return [await one.answer() for one in placed] + refused

    with psycopg.connect(telemetry_db) as blocker:
        blocker.execute("LOCK TABLE ingest_batches IN EXCLUSIVE MODE")
        answers = asyncio.run(all_at_once(blocker))

    refused = [answer for answer in answers if answer.status_code == 503]
    assert [answer.status_code for answer in answers].count(200) == 40 - len(refused) == 32
    assert {answer.headers[CREDIT] for answer in refused} == {"0"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 31 for answer in refused)


def test_admission_bounds_what_is_under_way() -> None:
    """E24, E30: an unbounded backlog in memory."""
    admission = Admission(in_flight=3, per_gateway=2)

    with admission.of(1), admission.of(1):
        with pytest.raises(TooManyRequests) as greedy, admission.of(1):
            pass
        with admission.of(2), pytest.raises(Unavailable) as full, admission.of(3):
            pass
    with admission.of(1):
        assert admission.in_flight == 1

    assert (greedy.value.retry_after_s, full.value.retry_after_s) == (1, 1)
    assert admission.in_flight == 0
