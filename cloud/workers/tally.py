"""Adds up what each gateway has delivered: receivers leave a row a batch, so that none waits for a counter."""

from datetime import datetime

from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers.loop import Work

_QUERIES = Queries("tally")


def works() -> list[Work]:
    return [Work(name="tally", step=add_up, pause_s=60)]


async def add_up(connection: AsyncConnection, _: datetime) -> bool:
    """One row a gateway; there is never more to do at once."""
    async with connection.transaction():
        await connection.execute(_QUERIES["add_up"])
    return False
