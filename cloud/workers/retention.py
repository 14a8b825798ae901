"""Drops chunks older than their period, where TimescaleDB has no jobs for it, and makes the next ones ahead of need."""

from datetime import datetime

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work

_LOG = structlog.get_logger("segs.worker.retention")
_QUERIES = Queries("retention")
# Each dropped chunk keeps its locks until the transaction ends.
_AT_ONCE = 4


def works() -> list[Work]:
    return [
        Work(name="retention", step=drop_expired, pause_s=600),
        Work(name="chunks_ahead", step=create_ahead, pause_s=3600),
    ]


async def drop_expired(connection: AsyncConnection, now: datetime) -> bool:
    """A few chunks; whether there may be more."""
    async with connection.transaction():
        cursor = await connection.execute(_QUERIES["drop_expired_chunks"], {"limit": _AT_ONCE, "now": now})
        dropped = [name for (name,) in await cursor.fetchall()]
    if dropped:
        metrics.DROPPED_CHUNKS.inc(len(dropped))
        _LOG.info("chunks_dropped", chunks=dropped)
    return len(dropped) == _AT_ONCE


async def create_ahead(connection: AsyncConnection, now: datetime) -> bool:
    """The next chunk of every hypertable."""
    async with connection.transaction():
        await connection.execute(_QUERIES["create_chunks_ahead"], {"now": now})
    return False
