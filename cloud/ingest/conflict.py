"""The slow path: some rows of a batch have a (meter, time) that is stored already.

An equal row is a duplicate. A row whose columns the stored one lacks completes it. A value that differs from the
stored one is set aside for review, and the stored one stays.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.ingest.binary_copy import copy_into
from cloud.ingest.columns import SetAside
from cloud.ingest.registry import Assignment, Registry
from cloud.ingest.rows import Rows
from cloud.instant import moment
from contract.batch import DeviceBlock

_QUERIES = Queries("ingest")

Differing = tuple[int, int, int, dict[str, float | int]]
"""Time in microseconds since 1970, meter, flags, and the values that differ from the stored ones."""


async def merge(connection: AsyncConnection, rows: Rows, batch_id: int) -> tuple[int, list[Differing]]:
    """Store what is new and complete what is there. Returns the number of new rows, and what differs."""
    await connection.execute(_QUERIES["incoming_create"])
    stored = 0
    differing: list[Differing] = []
    for layer in _layers(rows):
        part = rows.take(layer)
        await copy_into(connection, "incoming", part, batch_id)
        cursor = await connection.execute(_QUERIES["incoming_store"])
        stored += cursor.rowcount
        bounds = {"first": moment(int(part.time_us.min())), "last": moment(int(part.time_us.max()))}
        lacking = await (await connection.execute(_QUERIES["incoming_lacking"], bounds)).fetchone()
        assert lacking is not None
        meters, first, last = lacking
        if meters:
            # Not prepared: compressed rows are left alone only where constants of the plan exclude them.
            where = {"meters": meters, "first": first, "last": last}
            await connection.execute(_QUERIES["incoming_complete"], where, prepare=False)
        cursor = await connection.execute(_QUERIES["incoming_conflicts"], bounds)
        differing += await cursor.fetchall()
        await connection.execute(_QUERIES["incoming_empty"])
    return stored, differing


def _layers(rows: Rows) -> list[NDArray[np.int64]]:
    """Indices of the rows, split so that no (meter, time) appears twice in a layer; one layer, as a rule."""
    order = np.lexsort((rows.time_us, rows.meter_id))
    repeats = (np.diff(rows.meter_id[order]) == 0) & (np.diff(rows.time_us[order]) == 0)
    nth = np.zeros(len(rows), dtype=np.int64)
    for position in np.flatnonzero(repeats):
        nth[position + 1] = nth[position] + 1
    return [order[nth == n] for n in range(int(nth.max()) + 1)]


def as_blocks(differing: list[Differing], gateway_id: int, registry: Registry) -> list[SetAside]:
    """What differs, as parts of device blocks: one block per device and set of quantities."""
    devices: defaultdict[int, list[tuple[Assignment, str]]] = defaultdict(list)
    for (owner, device), assignments in registry.assignments.items():
        if owner == gateway_id:
            for one in assignments:
                devices[one.meter_id].append((one, device))
    blocks: dict[tuple[str, tuple[str, ...]], DeviceBlock] = {}
    columns: dict[tuple[str, tuple[str, ...]], defaultdict[str, list[float | int | None]]] = {}
    for time_us, meter_id, flags, values in differing:
        device = next(name for one, name in devices[meter_id] if one.from_us <= time_us < one.to_us)
        key = (device, tuple(values))
        block = blocks.setdefault(key, DeviceBlock(device=key[0], time_us=[], values={}, flags=[]))
        block.time_us.append(time_us)
        if block.flags is not None:
            block.flags.append(flags)
        for name, value in values.items():
            columns.setdefault(key, defaultdict(list))[name].append(value)
    for key, block in blocks.items():
        block.values = dict(columns[key])
    return [SetAside(block.device, "conflict", block) for block in blocks.values()]
