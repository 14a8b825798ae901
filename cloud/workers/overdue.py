"""Finds bills that nobody paid in time: overdue is set, and not only computed by who happens to look."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers.loop import Work
from cloud.workers.periodic import Periodic

_LOG = structlog.get_logger("segs.worker.overdue")
_QUERIES = Queries("overdue")
_AT_ONCE = 500


class Overdue(Periodic):
    """Every five minutes."""

    name, every = "overdue", timedelta(minutes=5)

    def __init__(self, *, dsn: str, at_once: int = _AT_ONCE) -> None:
        super().__init__(dsn=dsn, at_once=at_once)

    async def _some(self, domain: AsyncConnection, now: datetime) -> Mapping[str, int]:
        row = await (await domain.execute(_QUERIES["overdue"], {"limit": self._at_once, "now": now})).fetchone()
        return {"invoices": row[0]} if row and row[0] else {}

    def _tell(self, done: Mapping[str, int]) -> None:
        if done:
            _LOG.info("overdue", bills=done["invoices"])


def works(*, domain_dsn: str) -> list[Work]:
    """One kind of work."""
    return [Work(name="overdue", step=Overdue(dsn=domain_dsn).step, pause_s=60, share=0.5)]
