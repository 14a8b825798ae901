"""Gives regions of which nothing was heard their rows: a blackout is a row of no meters, not the absence of one."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers.loop import Work

_QUERIES = Queries("vee")
_EVERY = timedelta(minutes=1)
_PIECE = timedelta(hours=1)
# Readings come a moment late; a row that was made too early would be made again.
_SETTLES = timedelta(minutes=2)
_PIECES = timedelta(days=7) // _PIECE


def works() -> list[Work]:
    return [Work(name="silent_regions", step=mark, pause_s=30)]


def windows(now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The last hour, and one of those before it: in turn, all of seven days within three hours."""
    last = now - _SETTLES
    yield last - _PIECE, last
    older = last - (int(now.timestamp()) // int(_EVERY.total_seconds()) % (_PIECES - 1) + 1) * _PIECE
    yield older - _PIECE, older


async def mark(connection: AsyncConnection, now: datetime) -> bool:
    """Every minute, by whichever worker comes first."""
    async with connection.transaction():
        claim = {"kind": "silent_regions", "every": _EVERY, "now": now}
        if await (await connection.execute(_QUERIES["claim"], claim)).fetchone() == (True,):
            for begin, end in windows(now):
                await connection.execute(_QUERIES["mark_silent_regions"], {"from": begin, "to": end})
    return False
