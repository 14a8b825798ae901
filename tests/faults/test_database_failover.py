"""A database server dies for good, and its standby takes over: what has a receipt is there, and nothing twice."""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from cloud.db.pool import make_pool
from cloud.ingest.acceptance import ACCEPTANCE
from cloud.ingest.admission import Admission
from cloud.ingest.errors import Unavailable
from cloud.ingest.receiver import Limits, Receiver
from cloud.schema.apply import apply
from contract.batch import Batch, DeviceBlock
from contract.codec import PACKED, checksum, compress, encode
from contract.notes import Note, NoteKind
from local.servers import PostgresServer
from tests.faults.standby import either, promote, standby_of, wait_for_standby
from tests.faults.test_receiver import KEY, Process
from tests.integration.conftest import register

ROWS = 50


@dataclass
class Pair:
    """A primary with the telemetry schema, and a standby that its commits wait for."""

    primary: PostgresServer
    standby: PostgresServer

    @property
    def dsn(self) -> str:
        return either(self.primary, self.standby)


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with PostgresServer(data_dir=tmp_path_factory.mktemp("primary"), bound_to_parent=True) as primary:
        apply(primary.dsn(), "telemetry")
        register(primary.dsn(), KEY)
        standby = standby_of(primary, tmp_path_factory.mktemp("standby"))
        with standby:
            yield Pair(primary, standby)


@dataclass
class Gateway:
    """Sends batch after batch, each to one receiver or the other until there is a receipt."""

    receivers: list[Process]
    stop: threading.Event
    number: int
    stream: str = field(default_factory=lambda: str(uuid.uuid4()))
    receipts: list[tuple[bytes, bytes, float]] = field(default_factory=list)

    def run(self) -> None:
        seq = 0
        with httpx.Client(timeout=60) as client:
            while not self.stop.is_set():
                seq += 1
                body = self.body(seq)
                answer = self.deliver(client, body)
                if answer is not None:
                    self.receipts.append((body, answer, time.monotonic()))

    def deliver(self, client: httpx.Client, body: bytes) -> bytes | None:
        for attempt in range(1000):
            receiver = self.receivers[attempt % len(self.receivers)]
            try:
                answer = client.post(
                    f"{receiver.url}/ingest/v1/batches",
                    content=compress(body, "zstd"),
                    headers=receiver.headers | {"content-type": PACKED},
                )
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                return answer.content
            assert answer.status_code == 503, answer.text
            if self.stop.wait(0.1):
                return None
        return None

    def body(self, seq: int) -> bytes:
        # No two batches have a reading of the same instant.
        first_us = time.time_ns() // 1_000_000_000 * 1_000_000 - 3_600_000_000 + seq * ROWS * 10 + self.number
        times = [first_us + n * 10 for n in range(ROWS)]
        block = DeviceBlock("main", times, {"energy_import_wh": list(range(ROWS))})
        return encode(Batch(2, self.stream, seq, [block], [Note(NoteKind.SILENT, seq, seq)]), PACKED)


def test_a_standby_that_takes_over_has_every_batch_that_got_a_receipt(pair: Pair, free_port: Callable[[], int]) -> None:
    """C3, C6, E23: the server is killed in the middle of ingest, and never comes back."""
    receivers = [Process(pair.dsn, free_port(), KEY) for _ in range(2)]
    try:
        for receiver in receivers:
            receiver.answers()
        stop = threading.Event()
        gateways = [Gateway(receivers, stop, number) for number in range(3)]
        threads = [threading.Thread(target=gateway.run) for gateway in gateways]
        for thread in threads:
            thread.start()
        time.sleep(2)
        pair.primary.kill()
        killed = time.monotonic()
        promote(pair.standby)
        _until(lambda: all(gateway.receipts[-1][2] > killed + 0.5 for gateway in gateways), within_s=20)
        stop.set()
        for thread in threads:
            thread.join()

        again = [at for gateway in gateways for *_, at in gateway.receipts if at > killed]
        assert min(again) - killed < 15
        delivered = {(gateway.stream, checksum(body)) for gateway in gateways for body, *_ in gateway.receipts}
        with psycopg.connect(pair.standby.dsn()) as connection:
            found = connection.execute(
                "SELECT stream::text, encode(sha256, 'hex'), batch_id FROM ingest_batches"
            ).fetchall()
            counted = connection.execute(
                "SELECT (SELECT count(*) FROM raw_readings WHERE time > now() - INTERVAL '1 day'),"
                " (SELECT count(*) FROM gateway_notes)"
            ).fetchone()
        assert delivered <= {(stream, sha256) for stream, sha256, _ in found}
        assert len(delivered) > 20
        assert counted == (len(found) * ROWS, len(found))
        with httpx.Client(timeout=60) as client:
            for gateway in gateways:
                assert [gateway.deliver(client, body) for body, *_ in gateway.receipts[-20:]] == [
                    answer for _, answer, _ in gateway.receipts[-20:]
                ]
    finally:
        for receiver in receivers:
            receiver.process.kill()
            receiver.process.communicate()


async def test_no_receipt_is_given_while_the_standby_does_not_have_the_batch(pair: Pair) -> None:
    """Its commit is on the primary alone, and the wait for the standby was given up: a repeat must wait as well."""
    gateway = Gateway([], threading.Event(), 0)
    body = gateway.body(1)

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    async with make_pool(pair.dsn, name="segs-test", size=2) as pool:
        receiver = Receiver(
            pool=pool,
            admission=Admission(in_flight=4, per_gateway=2),
            clock=lambda: datetime.now(UTC),
            limits=Limits(commit_timeout_s=1),
            acceptance=ACCEPTANCE,
        )
        assert (await receiver.accept(KEY.text, PACKED, "identity", chunks(), None))[2]
        body = gateway.body(2)
        pair.standby.stop()
        for _ in range(2):
            with pytest.raises(Unavailable):
                await receiver.accept(KEY.text, PACKED, "identity", chunks(), None)

        await asyncio.to_thread(pair.standby.start)
        await asyncio.to_thread(wait_for_standby, pair.primary)
        receipt, _, new = await receiver.accept(KEY.text, PACKED, "identity", chunks(), None)

    assert (receipt.stored, new) == (ROWS, False)
    with psycopg.connect(pair.standby.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM ingest_batches").fetchone() == (2,)


def _until(condition: Callable[[], bool], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
