"""Lets readings out of the quarantine once their device is registered, or their time has come."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.ingest import quarantine
from cloud.ingest.acceptance import Acceptance
from cloud.ingest.columns import sort_out
from cloud.ingest.portion import portions
from cloud.ingest.registry import load
from cloud.ingest.transaction import store_rows
from cloud.instant import moment
from cloud.workers.loop import Work
from contract.batch import DeviceBlock

_QUERIES = Queries("ingest")
_AT_ONCE = 50


def works(acceptance: Acceptance) -> list[Work]:
    """`acceptance` is the receivers': what waited is held to the same times."""

    async def step(connection: AsyncConnection, now: datetime) -> bool:
        return await release(connection, acceptance, now) == _AT_ONCE

    return [Work(name="quarantine", step=step, pause_s=2)]


async def release(connection: AsyncConnection, acceptance: Acceptance, now: datetime) -> int:
    """Store the blocks of devices that are registered by now, and those that came early and are due, at most 50, in one
    transaction; how many were done.

    What still cannot be stored, because it has grown too old, or only part of it is due or falls into the registration,
    goes back into the quarantine under its reason.
    """
    window = acceptance.window(now)
    async with connection.transaction():
        claimed = await (await connection.execute(_QUERIES["quarantine_claim"], {"limit": _AT_ONCE})).fetchall()
        due = {"newest": moment(window.newest_us), "limit": _AT_ONCE - len(claimed)}
        claimed += await (await connection.execute(_QUERIES["quarantine_claim_due"], due)).fetchall()
        if not claimed:
            return 0
        registry = await load(connection)
        for quarantine_id, batch_id, gateway_id, plain in claimed:
            found = sort_out(portions([_block(plain)]), gateway_id, registry, window)
            stored = await store_rows(connection, found, batch_id, gateway_id, registry, now)
            await quarantine.keep(connection, found.set_aside, batch_id, gateway_id, now)
            done = {"quarantine_id": quarantine_id, "stored": stored, "now": now}
            await connection.execute(_QUERIES["quarantine_release"], done)
        return len(claimed)


def _block(plain: dict[str, Any]) -> DeviceBlock:
    """The block as it came: NaN and infinities, which JSON lacks, stand as strings."""
    columns = {
        name: [float(number) if isinstance(number, str) else number for number in column]
        for name, column in plain["values"].items()
    }
    return msgspec.convert(plain | {"values": columns}, DeviceBlock)
