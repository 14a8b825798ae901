"""Lets readings out of the quarantine once their device is registered, or their time has come."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from psycopg import AsyncConnection, Error

from cloud.db.queries import Queries
from cloud.ingest import quarantine
from cloud.ingest.acceptance import Acceptance
from cloud.ingest.columns import sort_out
from cloud.ingest.portion import portions
from cloud.ingest.registry import load
from cloud.ingest.transaction import store_rows
from cloud.instant import moment
from cloud.workers.loop import Work, lasts
from contract.batch import DeviceBlock

_LOG = structlog.get_logger("segs.worker.quarantine")
_QUERIES = Queries("ingest")
_AT_ONCE = 50
_AGAIN = timedelta(hours=1)


def works(acceptance: Acceptance) -> list[Work]:
    """`acceptance` is the receivers': what waited is held to the same times."""

    failed: dict[int, datetime] = {}

    async def step(connection: AsyncConnection, now: datetime) -> bool:
        return await release(connection, acceptance, now, failed) == _AT_ONCE

    return [Work(name="quarantine", step=step, pause_s=2)]


async def release(
    connection: AsyncConnection, acceptance: Acceptance, now: datetime, failed: dict[int, datetime] | None = None
) -> int:
    """Store the blocks of devices that are registered by now, and those that came early and are due, at most 50, in one
    transaction; how many were taken.

    What still cannot be stored, because it has grown too old, or only part of it is due or falls into the registration,
    goes back into the quarantine under its reason. A block at which the database fails stays, and is noted in `failed`
    with the time until when it is left alone.
    """
    failed = {} if failed is None else failed
    window = acceptance.window(now)
    async with connection.transaction():
        wanted = {"limit": _AT_ONCE, "without": [number for number, until in failed.items() if until > now]}
        claimed = await (await connection.execute(_QUERIES["quarantine_claim"], wanted)).fetchall()
        due = wanted | {"newest": moment(window.newest_us), "limit": _AT_ONCE - len(claimed)}
        claimed += await (await connection.execute(_QUERIES["quarantine_claim_due"], due)).fetchall()
        if not claimed:
            return 0
        registry = await load(connection)
        for quarantine_id, batch_id, gateway_id, plain in claimed:
            try:
                async with connection.transaction():
                    found = sort_out(portions([_block(plain)]), gateway_id, registry, window)
                    stored = await store_rows(connection, found, batch_id, gateway_id, registry, now)
                    await quarantine.keep(connection, found.set_aside, batch_id, gateway_id, now)
                    done = {"quarantine_id": quarantine_id, "stored": stored, "now": now}
                    await connection.execute(_QUERIES["quarantine_release"], done)
                failed.pop(quarantine_id, None)
            except Error as error:
                if not lasts(error):
                    raise
                failed[quarantine_id] = now + _AGAIN
                _LOG.error("block_not_released", quarantine_id=quarantine_id, error=str(error).strip())
        return len(claimed)


def _block(plain: dict[str, Any]) -> DeviceBlock:
    """The block as it came: NaN and infinities, which JSON lacks, stand as strings."""
    columns = {
        name: [float(number) if isinstance(number, str) else number for number in column]
        for name, column in plain["values"].items()
    }
    return msgspec.convert(plain | {"values": columns}, DeviceBlock)
