"""What gateways have delivered is known without reading the ledger, and exactly."""

from typing import Any
from uuid import UUID

import psycopg

from cloud.workers.tally import add_up
from tests.sql.conftest import START

STREAM = UUID("0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11")
DELIVER = (
    "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates)"
    " VALUES (1, %s, %s, sha256('x'), %s, 10, 10, 0) ON CONFLICT (gateway_id, stream, seq) DO NOTHING"
)
TALLIES = "SELECT batches, readings, last_seq FROM delivery_tallies ORDER BY tally_id"


async def _add_up(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await add_up(connection, START)


async def test_every_batch_is_counted_once_and_a_repeat_is_not(telemetry: Any) -> None:
    for seq in (1, 2, 2, 3):
        telemetry.do(DELIVER, STREAM, seq, START)
    assert len(telemetry.rows(TALLIES)) == 3

    await _add_up(telemetry.dsn)

    assert telemetry.rows(TALLIES) == [{"batches": 3, "readings": 30, "last_seq": 3}]


async def test_a_batch_that_commits_after_the_addition_is_not_forgotten(telemetry: Any) -> None:
    """C6: a watermark passes over what is still under way."""
    with psycopg.connect(telemetry.dsn) as slow:
        slow.execute(DELIVER, [STREAM, 1, START])
        for seq in (2, 3):
            telemetry.do(DELIVER, STREAM, seq, START)
        await _add_up(telemetry.dsn)
    await _add_up(telemetry.dsn)

    assert telemetry.rows("SELECT batches, readings FROM delivery_tallies") == [{"batches": 3, "readings": 30}]


async def test_a_batch_that_is_rolled_back_counts_nothing(telemetry: Any) -> None:
    with psycopg.connect(telemetry.dsn) as given_up:
        given_up.execute(DELIVER, [STREAM, 1, START])
        given_up.rollback()

    assert telemetry.rows(TALLIES) == []
