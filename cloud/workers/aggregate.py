"""Works off the queues of marks: minutes and quarter-hours of meters, then quarter-hours of regions."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from psycopg import AsyncConnection
from psycopg.errors import QueryCanceled

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work

_LOG = structlog.get_logger("segs.worker.aggregate")
_QUERIES = Queries("aggregate")
# What is not due yet is computed for those who watch, with a tenth of the time and unless something is more overdue.
_EARLY_SHARE = 0.1
_IN_TIME_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queue:
    """A queue of marks: the statement that claims some and computes, and the table its rows are of.

    `resolution_min` is that of its marks in dirty_meters, None for marks of regions.
    """

    name: str
    statement: str
    table: str
    limit: int
    resolution_min: int | None = None


_MINUTES = _Queue(name="minutes", statement="aggregate_readings", table="aggregates_1m", limit=500, resolution_min=1)
_QUARTERS = _Queue(
    name="quarters", statement="aggregate_quarters", table="aggregates_15m", limit=500, resolution_min=15
)
_REGIONS = _Queue(name="regions", statement="aggregate_regions", table="regional_15m", limit=500)


class _Lag:
    """How long the most overdue mark of all queues had waited when it was looked at last, in seconds."""

    def __init__(self) -> None:
        self.most_s = math.inf

    async def measure(self, connection: AsyncConnection, now: datetime) -> bool:
        async with connection.transaction():
            row = await (await connection.execute(_QUERIES["lag"], {"now": now})).fetchone()
        assert row is not None
        for queue, lag_s in zip((_MINUTES, _QUARTERS, _REGIONS), row, strict=True):
            metrics.LAG_SECONDS.labels(queue.name).set(lag_s)
        self.most_s = max(row)
        return False


class _Shift:
    """Works one queue off: what is due as fast as it goes, and what is not due yet beside it."""

    def __init__(self, queue: _Queue, lag: _Lag, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._queue, self._lag, self._monotonic_s = queue, lag, monotonic_s
        self._early_from_s = 0.0

    async def step(self, connection: AsyncConnection, now: datetime) -> bool:
        """One claim; whether there may be more to do at once."""
        if await self._claim(connection, now, early=False):
            return True
        started_s = self._monotonic_s()
        if started_s >= self._early_from_s and self._lag.most_s <= _IN_TIME_S:
            found = await self._claim(connection, now, early=True)
            ended_s = self._monotonic_s()
            self._early_from_s = ended_s + (ended_s - started_s) / _EARLY_SHARE
            return found
        return False

    async def _claim(self, connection: AsyncConnection, now: datetime, *, early: bool) -> bool:
        wanted = {"limit": self._queue.limit, "now": now, "early": early}
        try:
            async with connection.transaction():
                row = await (await connection.execute(_QUERIES[self._queue.statement], wanted)).fetchone()
        except QueryCanceled as error:
            if self._queue.resolution_min is None:
                raise
            # What takes longer than the database allows takes as long the next time.
            _LOG.error("claim_timed_out", queue=self._queue.name, error=str(error).strip())
            wanted |= {"resolution_min": self._queue.resolution_min, "error": str(error).strip()}
            async with connection.transaction():
                row = await (await connection.execute(_QUERIES["put_back"], wanted)).fetchone()
        assert row is not None
        marks, written, failed = row
        metrics.MARKS.labels(self._queue.name).inc(marks)
        metrics.BUCKETS.labels(self._queue.table).inc(written)
        if failed:
            metrics.FAILED.labels(self._queue.name).inc(failed)
            _LOG.error("mark_set_aside", queue=self._queue.name, marks=failed, see="failed_marks")
        return bool(marks)


def works(*, pause_s: float) -> list[Work]:
    """The loops over the queues. `pause_s` is the time that marks gather before they are looked for again.

    Marks are looked for, not listened for: a NOTIFY would make the commits of all receivers wait for one another.
    """
    lag = _Lag()
    return [
        *(
            Work(name=queue.name, step=_Shift(queue, lag).step, pause_s=pause_s)
            for queue in (_MINUTES, _QUARTERS, _REGIONS)
        ),
        Work(name="failed_marks", step=_retry_failed, pause_s=300),
        Work(name="lag", step=lag.measure, pause_s=2),
    ]


async def _retry_failed(connection: AsyncConnection, now: datetime) -> bool:
    async with connection.transaction():
        await connection.execute(_QUERIES["retry_failed_marks"], {"now": now})
    return False
