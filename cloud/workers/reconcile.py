"""Compares aggregates_1m with cagg_1m: the last minutes, and piece by piece the last five days."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work

_LOG = structlog.get_logger("segs.worker.reconcile")
_QUERIES = Queries("reconcile")
_EVERY = timedelta(minutes=5)
_PIECE = timedelta(minutes=10)
# Readings come a moment late; a minute is looked at when it is likely to be complete.
_SETTLES = timedelta(minutes=2)
_PIECES = timedelta(days=5) // _PIECE


def works() -> list[Work]:
    return [Work(name="reconcile", step=reconcile, pause_s=30)]


def windows(now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The latest piece, and one of the pieces before it: in turn, all of five days within two and a half."""
    last = now - _SETTLES
    yield last - _PIECE, last
    older = last - (int(now.timestamp()) // int(_EVERY.total_seconds()) % (_PIECES - 1) + 1) * _PIECE
    yield older - _PIECE, older


async def reconcile(connection: AsyncConnection, now: datetime) -> bool:
    """Every five minutes, by whichever worker comes first."""
    async with connection.transaction():
        claim = {"kind": "reconcile", "every": _EVERY, "now": now}
        if await (await connection.execute(_QUERIES["claim"], claim)).fetchone() != (True,):
            return False
        for begin, end in windows(now):
            found = await connection.execute(_QUERIES["reconcile_minutes"], {"from": begin, "to": end, "now": now})
            row = await found.fetchone()
            assert row is not None
            minutes, mismatches = row
            metrics.RECONCILED.inc(minutes)
            metrics.MISMATCHES.inc(mismatches)
            if mismatches:
                _LOG.error("aggregates_differ", minutes=mismatches, since=begin.isoformat(), until=end.isoformat())
    return False
