"""Validation and estimation of quarter-hours: what is out of the ordinary at once, each local day when it has ended."""

from datetime import datetime

import structlog
from psycopg import AsyncConnection, Error

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work, lasts

_LOG = structlog.get_logger("segs.worker.vee")
_QUERIES = Queries("vee")
_AT_ONCE = 500
_QUEUE = "intervals"


def works(*, pause_s: float) -> list[Work]:
    """`pause_s` is the time that marks gather before they are looked for again."""
    return [
        # A million meters whose day ends at one midnight are looked at within a quarter of an hour.
        Work(name="vee", step=validate, pause_s=max(pause_s, 2), share=0.25),
        Work(name="ended_days", step=_mark_ended_days, pause_s=300),
        Work(name="silent_meters", step=_estimate_silence, pause_s=600),
        Work(name="vee_lag", step=_measure_lag, pause_s=10),
    ]


async def validate(connection: AsyncConnection, now: datetime) -> bool:
    """One claim. When it fails, its marks are taken one by one, and the one that fails again waits an hour."""
    try:
        return await _claim(connection, _AT_ONCE, now) == _AT_ONCE
    except Error as error:
        if not lasts(error):
            raise
        _LOG.error("claim_failed", queue=_QUEUE, error=str(error).strip())
    for _ in range(_AT_ONCE):
        try:
            if await _claim(connection, 1, now) == 0:
                return False
        except Error as error:
            if not lasts(error):
                raise
            await _postpone(connection, str(error).strip(), now)
    return True


async def _claim(connection: AsyncConnection, limit: int, now: datetime) -> int:
    async with connection.transaction():
        row = await (await connection.execute(_QUERIES["validate"], {"limit": limit, "now": now})).fetchone()
    assert row is not None
    marks, estimates, findings = row
    metrics.MARKS.labels(_QUEUE).inc(marks)
    metrics.ESTIMATES.inc(estimates)
    metrics.FINDINGS.inc(findings)
    return int(marks)


async def _postpone(connection: AsyncConnection, error: str, now: datetime) -> None:
    async with connection.transaction():
        mark = await (await connection.execute(_QUERIES["postpone"], {"now": now, "error": error})).fetchone()
    metrics.FAILED.labels(_QUEUE).inc()
    _LOG.error("mark_postponed", queue=_QUEUE, mark=[str(part) for part in mark or ()], error=error)


async def _mark_ended_days(connection: AsyncConnection, now: datetime) -> bool:
    async with connection.transaction():
        await connection.execute(_QUERIES["mark_ended_days"], {"now": now})
    return False


async def _estimate_silence(connection: AsyncConnection, now: datetime) -> bool:
    async with connection.transaction():
        cursor = await connection.execute(_QUERIES["estimate_silence"], {"limit": _AT_ONCE, "now": now})
        return await cursor.fetchone() == (_AT_ONCE,)


async def _measure_lag(connection: AsyncConnection, now: datetime) -> bool:
    async with connection.transaction():
        row = await (await connection.execute(_QUERIES["lag"], {"limit": _AT_ONCE, "now": now})).fetchone()
    assert row is not None
    metrics.LAG_SECONDS.labels(_QUEUE).set(row[0])
    return False
