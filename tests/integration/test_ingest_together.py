"""Several receivers and connections write the same rows at the same time."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from uuid import UUID

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from cloud.app import build
from cloud.gateways.key import Key
from cloud.ingest.acceptance import ACCEPTANCE
from cloud.ingest.admission import Admission
from cloud.ingest.receiver import Limits, Receiver
from contract.batch import Batch, DeviceBlock
from contract.codec import PACKED, compress, encode
from tests.integration.conftest import NOW, NOW_US, register, register_device

_DEVICES, _TIMES = 40, 10
_DAY_US = 86_400_000_000


async def _ready() -> str | None:
    return None


@pytest.fixture
async def clients(telemetry_db: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two receivers with eight connections each, and a client of either; devices m1, m2, … are registered."""
    key = Key.generate()
    register(telemetry_db, key)
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        for number in range(1, _DEVICES + 1):
            register_device(connection, f"m{number}", 100 + number)
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            pool = await stack.enter_async_context(AsyncConnectionPool(telemetry_db, min_size=8, open=False))
            receiver = Receiver(
                pool=pool,
                admission=Admission(in_flight=16, per_gateway=16),
                clock=lambda: NOW,
                limits=Limits(),
                acceptance=ACCEPTANCE,
            )
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(build(receiver=receiver, ready=_ready)),
                base_url="http://cloud",
                headers={
                    "authorization": f"Bearer {key.text}",
                    "content-type": PACKED,
                    "content-encoding": "zstd",
                },
            )
            found.append(await stack.enter_async_context(client))
        yield found


def _body(stream: int, shuffled: random.Random, *, some: float = 1.0) -> bytes:
    """The same readings of yesterday and today whatever the stream, its devices and times in an order of its own."""
    blocks = []
    for number in range(1, _DEVICES + 1):
        times = [NOW_US - (n % 2) * _DAY_US - n * 1_000_000 for n in range(_TIMES) if shuffled.random() < some]
        shuffled.shuffle(times)
        values = {
            "power_w": [float(time % 977 + number) for time in times],
            "energy_import_wh": [number for _ in times],
        }
        blocks.append(DeviceBlock(f"m{number}", times, values, interval_ms=1000))
    shuffled.shuffle(blocks)
    batch = Batch(version=2, stream=str(UUID(int=stream)), seq=1, devices=blocks)
    return compress(encode(batch, PACKED), "zstd")


def _insert(connection: psycopg.Connection, meter_id: int, *times: datetime) -> None:
    connection.cursor().executemany(
        "INSERT INTO raw_readings (time, meter_id, batch_id) VALUES (%s, %s, 0)", [(time, meter_id) for time in times]
    )


async def _all_wait(dsn: str, connections: int) -> None:
    """Returns once so many connections wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20), await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        found = None
        while found != (connections,):
            found = await (await connection.execute(waiting)).fetchone()


async def test_receivers_that_get_overlapping_batches_at_once_store_every_row_once_and_never_block_each_other(
    clients: list[httpx.AsyncClient], telemetry_db: str
) -> None:
    """E23, E26: rows in the order in which each batch has them make two writers wait for each other."""
    shuffled = random.Random(7)
    bodies = [_body(stream, shuffled, some=0.8) for stream in range(30)] + [_body(99, shuffled)]

    async with asyncio.TaskGroup() as group:
        with psycopg.connect(telemetry_db) as blocker:
            # The chunks are there already: the first row of one would make everybody wait.
            _insert(blocker, 1, NOW - timedelta(days=1), NOW)
            blocker.commit()
            # Whoever comes to this row waits, with what it has written by then.
            _insert(blocker, 120, NOW - timedelta(days=1, seconds=5))
            posts = [
                group.create_task(clients[n % 2].post("/ingest/v1/batches", content=body))
                for n, body in enumerate(bodies)
            ]
            await _all_wait(telemetry_db, 16)
            blocker.rollback()
    answers = [post.result() for post in posts]

    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["stored"] for answer in answers) == _DEVICES * _TIMES
    assert [answer.json()["quarantined"] for answer in answers] == [[]] * len(answers)
    with psycopg.connect(telemetry_db) as connection:
        counted = "SELECT count(*), count(DISTINCT (meter_id, time)) FROM raw_readings"
        counted += " WHERE time > '2026-01-01' AND meter_id > 100"
        assert connection.execute(counted).fetchone() == (_DEVICES * _TIMES, _DEVICES * _TIMES)
        # Each attempt takes a number of the ledger: nobody needed a second one.
        attempts = "SELECT max(batch_id) FROM ingest_batches"
        assert connection.execute(attempts).fetchone() == (len(bodies),)


async def test_late_rows_may_open_as_much_of_a_compressed_chunk_as_there_is_and_live_rows_nothing(
    clients: list[httpx.AsyncClient], telemetry_db: str
) -> None:
    """The limit is there to keep a live batch short; a backlog of a week would never get in."""
    with psycopg.connect(telemetry_db, autocommit=True) as connection:
        connection.execute("CREATE TABLE seen (batch bigint, most text)")
        connection.execute(
            "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (NEW.batch_id,"
            " current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction', true)); RETURN NULL; END $$"
        )
        connection.execute("CREATE TRIGGER see AFTER INSERT ON raw_readings FOR EACH ROW EXECUTE FUNCTION see()")
    for stream, age in enumerate((timedelta(), timedelta(days=3), timedelta())):
        time_us = int((NOW - age - timedelta(seconds=stream)).timestamp() * 1e6)
        block = DeviceBlock("m1", [time_us], {"power_w": [1.0]})
        batch = Batch(version=2, stream=str(UUID(int=stream)), seq=1, devices=[block])
        answer = await clients[0].post("/ingest/v1/batches", content=compress(encode(batch, PACKED), "zstd"))
        assert answer.json()["stored"] == 1

    with psycopg.connect(telemetry_db) as connection:
        live, late, again = connection.execute("SELECT most FROM seen ORDER BY batch").fetchall()
    assert (late, live == again, live == late) == (("0",), True, False)
