"""One batch, one transaction: ledger, readings, notes, dirty marks, quarantine. Answer once it has committed."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from cloud.db.queries import Queries
from cloud.ingest import binary_copy, conflict, notes
from cloud.ingest.columns import Rows, SetAside, Sorted, Window, doubtful_too, sound
from cloud.ingest.errors import SequenceReused
from cloud.ingest.instant import microseconds, moment
from cloud.ingest.portion import Contents
from cloud.ingest.registry import Registry, load
from contract.batch import DeviceBlock
from contract.receipt import Quarantined, Receipt

_QUERIES = Queries("ingest")
_MINUTE_US = 60_000_000
# A longer silence within a batch splits its span, so that late readings do not mark the time between.
_GAP_US = 15 * _MINUTE_US
_MANY_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which reading times are stored: from `past` before now to `future` after it; what is older than `live` is late.

    `live` is no more than what raw readings are kept uncompressed for.
    """

    past: timedelta
    future: timedelta
    live: timedelta = timedelta(days=2)

    def window(self, now: datetime) -> Window:
        """The bounds at `now`."""
        past, future, live = now - self.past, now + self.future, now - self.live
        return Window(microseconds(past), microseconds(future), microseconds(live))


ACCEPTANCE = Acceptance(past=timedelta(days=7), future=timedelta(minutes=5))
"""Raw readings are kept for 7 days; a clock may be 5 minutes ahead."""


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
    expected = {"stored": len(rows), "duplicates": 0, "quarantined": Jsonb(_summary(found.set_aside))}
    opening = {"sha256": bytes.fromhex(delivery.sha256), "now": now, "readings": contents.readings}
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
    quarantined = _summary(found.set_aside)
    async with connection.pipeline():
        await _mark(connection, rows, now)
        await set_aside(connection, found.set_aside, batch_id, delivery.gateway_id, now)
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
    await _mark(connection, found.rows, now)
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


async def _mark(connection: AsyncConnection, rows: Rows, now: datetime) -> None:
    if len(rows):
        await connection.execute(_QUERIES["mark_dirty"], _marks(rows) | {"now": now})


async def _open(connection: AsyncConnection, rows: Rows) -> None:
    """What is compressed where late rows go is opened."""
    meter_id, first_us, last_us = _spans(rows)
    where = {"meters": meter_id.tolist(), "first_us": first_us.tolist(), "last_us": last_us.tolist()}
    await connection.execute(_QUERIES["late_rows"], where)


def _spans(rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Meters, and the first and last of their reading times, microseconds since 1970, without a gap of `_GAP_US`."""
    order = np.lexsort((rows.time_us, rows.meter_id))
    meter_id, time_us = rows.meter_id[order], rows.time_us[order]
    first = np.append(True, (np.diff(meter_id) != 0) | (np.diff(time_us) > _GAP_US))
    return meter_id[first], time_us[first], time_us[np.append(first[1:], True)]


def _marks(rows: Rows) -> dict[str, list[int] | list[str]]:
    """Spans of reading times, microseconds since 1970, and for each the meters that share it, as an array literal.

    Meters whose spans touch the same minutes share the widest of them.
    """
    meter_id, first_us, last_us = _spans(rows)
    minutes = np.stack((first_us, last_us)) // _MINUTE_US
    by_minutes = np.lexsort(minutes)
    changes = np.flatnonzero(np.diff(minutes[:, by_minutes], axis=1).any(axis=0)) + 1
    groups = np.split(by_minutes, changes)
    return {
        "meters": ["{" + ",".join(map(str, meter_id[group].tolist())) + "}" for group in groups],
        "first_us": [int(first_us[group].min()) for group in groups],
        "last_us": [int(last_us[group].max()) for group in groups],
    }


async def set_aside(
    connection: AsyncConnection, parts: list[SetAside], batch_id: int, gateway_id: int, now: datetime
) -> None:
    """Write `parts` to the quarantine."""
    if parts:
        rows = [_quarantine_row(part, batch_id, gateway_id, now) for part in parts]
        await connection.cursor().executemany(_QUERIES["quarantine"], rows)


def _quarantine_row(part: SetAside, batch_id: int, gateway_id: int, now: datetime) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "gateway_id": gateway_id,
        "device": part.device,
        "reason": part.reason,
        "readings": part.readings,
        "first_time": moment(min(part.block.time_us)),
        "last_time": moment(max(part.block.time_us)),
        "block": Jsonb(_plain(part.block)),
        "now": now,
    }


def _plain(block: DeviceBlock) -> dict[str, object]:
    """The block as JSON can hold it: NaN and infinities become strings."""
    plain: dict[str, object] = msgspec.to_builtins(block)
    plain["values"] = {
        name: [str(number) if isinstance(number, float) and not np.isfinite(number) else number for number in column]
        for name, column in block.values.items()
    }
    return plain


def _summary(parts: list[SetAside]) -> list[dict[str, object]]:
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts[part.device, part.reason] += part.readings
    return [{"device": device, "reason": why, "readings": count} for (device, why), count in sorted(counts.items())]


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
