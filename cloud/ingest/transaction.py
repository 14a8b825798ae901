"""One batch, one transaction: ledger, readings, notes, dirty marks, quarantine. Answer once it has committed."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from cloud.db.queries import Queries
from cloud.ingest import binary_copy, conflict, marks, notes, quarantine
from cloud.ingest.acceptance import Window
from cloud.ingest.columns import Sorted, doubtful_too, sound
from cloud.ingest.errors import SequenceReused
from cloud.ingest.portion import Contents
from cloud.ingest.registry import Registry, load
from cloud.ingest.rows import Rows
from contract.receipt import Quarantined, Receipt

_QUERIES = Queries("ingest")
_MANY_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A decoded batch, the gateway whose key it came with, and the checksum of its encoded form."""

    gateway_id: int
    contents: Contents
    sha256: str

    @property
    def key(self) -> dict[str, object]:
        return {"gateway_id": self.gateway_id, "stream": self.contents.stream, "seq": self.contents.seq}


class RegistryChanged(Exception):
    """The registry has moved on; `registry` is the new one. Nothing was stored: look at the key again, and retry."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(f"registry is at version {registry.version}")
        self.registry = registry


async def commit(
    connection: AsyncConnection, delivery: Delivery, found: Sorted, registry: Registry, now: datetime
) -> tuple[Receipt, bool]:
    """Store the batch, or find that it is stored; return its receipt, committed, and whether the batch was new.

    `found` is what `registry` and the acceptance make of the batch. `connection` is at rest and not in autocommit; who
    lent it rolls back after what is raised: SequenceReused, RegistryChanged, and psycopg's errors. Nothing of the batch
    is stored then.
    """
    contents, rows = delivery.contents, found.rows
    expected = {"stored": len(rows), "duplicates": 0, "quarantined": Jsonb(quarantine.summary(found.set_aside))}
    opening = {"sha256": bytes.fromhex(delivery.sha256), "now": now, "readings": contents.readings, **_times(rows)}
    # Statements that need not wait for one another share a round trip. COPY cannot be among them.
    async with connection.pipeline():
        cursor = await connection.execute(_QUERIES["ledger_open"], delivery.key | opening | expected)
        if found.late:
            await _open(connection, rows)
        await connection.execute(_QUERIES["rows_begin"])
    row = await cursor.fetchone()
    if row is None:
        receipt = await _first_answer(connection, delivery)
        await connection.commit()
        return receipt, False
    batch_id, version = row
    if version != registry.version:
        raise RegistryChanged(await load(connection))
    stored = await _write(connection, found, batch_id, delivery.gateway_id, registry)
    quarantined = quarantine.summary(found.set_aside)
    async with connection.pipeline():
        await marks.leave(connection, rows, now)
        await quarantine.keep(connection, found.set_aside, batch_id, delivery.gateway_id, now)
        await notes.keep(connection, contents.notes, batch_id, delivery.gateway_id)
        if stored != len(rows):
            actual = {"stored": stored, "duplicates": len(rows) - stored, "quarantined": Jsonb(quarantined)}
            await connection.execute(_QUERIES["ledger_correct"], delivery.key | actual)
        await connection.commit()
    return _receipt(delivery, contents.readings, stored, len(rows) - stored, quarantined), True


async def sorted_out(delivery: Delivery, registry: Registry, window: Window) -> Sorted:
    """`sort_out`. What is doubtful takes time by the column: where there is much, other batches go on meanwhile."""
    portions, gateway_id = delivery.contents.portions, delivery.gateway_id
    rows, doubtful = sound(portions, gateway_id, registry, window)
    if sum(1 + len(block.values) for block in doubtful) < _MANY_COLUMNS:
        return doubtful_too(rows, doubtful, gateway_id, registry, window)
    return await asyncio.to_thread(doubtful_too, rows, doubtful, gateway_id, registry, window)


async def store_rows(
    connection: AsyncConnection, found: Sorted, batch_id: int, gateway_id: int, registry: Registry, now: datetime
) -> int:
    """Write rows and their dirty marks; append conflicting values to `found.set_aside`. Returns the new rows.

    For a transaction that is under way and goes on afterwards.
    """
    if found.late:
        await _open(connection, found.rows)
    await connection.execute(_QUERIES["rows_begin"])
    stored = await _write(connection, found, batch_id, gateway_id, registry)
    await connection.execute(_QUERIES["rows_end"])
    await marks.leave(connection, found.rows, now)
    return stored


async def _write(connection: AsyncConnection, found: Sorted, batch_id: int, gateway_id: int, registry: Registry) -> int:
    """Write the rows, after a savepoint; append conflicting values to `found.set_aside`. Returns the new rows."""
    rows = found.rows
    if not len(rows):
        return 0
    try:
        await binary_copy.copy_into(connection, "raw_readings", rows, batch_id)
    except UniqueViolation:
        await connection.execute(_QUERIES["rows_undo"])
        stored, differing = await conflict.merge(connection, rows, batch_id)
        found.set_aside += conflict.as_blocks(differing, gateway_id, registry)
        return stored
    return len(rows)


async def _open(connection: AsyncConnection, rows: Rows) -> None:
    """What is compressed where late rows go is opened."""
    meter_id, first_us, last_us = marks.spans(rows)
    where = {"meters": meter_id.tolist(), "first_us": first_us.tolist(), "last_us": last_us.tolist()}
    await connection.execute(_QUERIES["late_rows"], where)


def _times(rows: Rows) -> dict[str, int | None]:
    """Between when they lie."""
    times = rows.time_us
    return {
        "first_us": int(times.min()) if len(times) else None,
        "last_us": int(times.max()) if len(times) else None,
    }


async def _first_answer(connection: AsyncConnection, delivery: Delivery) -> Receipt:
    cursor = await connection.execute(_QUERIES["ledger_find"], delivery.key)
    row = await cursor.fetchone()
    if row is None or bytes(row[0]).hex() != delivery.sha256:
        stream, seq = delivery.contents.stream, delivery.contents.seq
        raise SequenceReused(f"stream {stream} has another batch {seq}; start a new stream with a new id")
    await connection.execute(_QUERIES["ledger_confirm"])
    return _receipt(delivery, *row[1:])


def _receipt(delivery: Delivery, readings: int, stored: int, duplicates: int, quarantined: object) -> Receipt:
    return Receipt(
        version=delivery.contents.version,
        stream=delivery.contents.stream,
        seq=delivery.contents.seq,
        sha256=delivery.sha256,
        readings=readings,
        stored=stored,
        duplicates=duplicates,
        quarantined=msgspec.convert(quarantined, list[Quarantined]),
    )
