"""Works off the queues of marks: minutes and quarter-hours of meters, then quarter-hours of regions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection, Error
from psycopg.rows import dict_row

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import TRANSIENT, Work

_LOG = structlog.get_logger("segs.worker.aggregate")
_QUERIES = Queries("aggregate")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queue:
    """A queue of marks: the statement that claims some and computes, and the tables its counts are of."""

    name: str
    statement: str
    set_aside: str
    limit: int
    tables: dict[str, str]


_READINGS = _Queue(
    name="readings",
    statement="aggregate_readings",
    set_aside="set_aside_reading_mark",
    limit=200,
    tables={"minutes": "aggregates_1m", "quarters": "aggregates_15m"},
)
_REGIONS = _Queue(
    name="regions",
    statement="aggregate_regions",
    set_aside="set_aside_region_mark",
    limit=500,
    tables={"quarters": "regional_15m"},
)


def works(*, pause_s: float) -> list[Work]:
    """The loops over the queues. `pause_s` is the time that marks gather before they are looked for again.

    Marks are looked for, not listened for: a NOTIFY would make the commits of all receivers wait for one another.
    """
    return [
        Work(name="aggregate", step=_aggregate, pause_s=pause_s),
        Work(name="regions", step=_sum_regions, pause_s=pause_s),
        Work(name="failed_marks", step=_retry_failed, pause_s=300),
        Work(name="lag", step=_measure_lag, pause_s=2),
    ]


async def _aggregate(connection: AsyncConnection, now: datetime) -> bool:
    return await _work_off(connection, _READINGS, now)


async def _sum_regions(connection: AsyncConnection, now: datetime) -> bool:
    return await _work_off(connection, _REGIONS, now)


async def _work_off(connection: AsyncConnection, queue: _Queue, now: datetime) -> bool:
    """One claim. When it fails, its marks are taken one by one, and the one that fails again leaves the queue."""
    try:
        return await _claim(connection, queue, queue.limit, now) == queue.limit
    except TRANSIENT:
        raise
    except Error as error:
        _LOG.error("claim_failed", queue=queue.name, error=str(error).strip())
    for _ in range(queue.limit):
        try:
            if await _claim(connection, queue, 1, now) == 0:
                return False
        except TRANSIENT:
            raise
        except Error as error:
            await _set_aside(connection, queue, str(error).strip(), now)
            return True
    return True


async def _claim(connection: AsyncConnection, queue: _Queue, limit: int, now: datetime) -> int:
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_QUERIES[queue.statement], {"limit": limit, "now": now})
        done: dict[str, Any] | None = await cursor.fetchone()
    assert done is not None
    metrics.MARKS.labels(queue.name).inc(done["marks"])
    for column, table in queue.tables.items():
        metrics.BUCKETS.labels(table).inc(done[column])
    return int(done["marks"])


async def _set_aside(connection: AsyncConnection, queue: _Queue, error: str, now: datetime) -> None:
    async with connection.transaction():
        cursor = await connection.execute(_QUERIES[queue.set_aside], {"now": now, "error": error})
        mark = await cursor.fetchone()
    metrics.FAILED.labels(queue.name).inc()
    _LOG.error("mark_set_aside", queue=queue.name, mark=[str(part) for part in mark or ()], error=error)


async def _retry_failed(connection: AsyncConnection, now: datetime) -> bool:
    async with connection.transaction():
        await connection.execute(_QUERIES["retry_failed_marks"], {"now": now})
    return False


async def _measure_lag(connection: AsyncConnection, _: datetime) -> bool:
    async with connection.transaction():
        row = await (await connection.execute(_QUERIES["lag"])).fetchone()
    assert row is not None
    for queue, lag_s in zip(("readings", "regions"), row, strict=True):
        metrics.LAG_SECONDS.labels(queue).set(lag_s)
    return False
