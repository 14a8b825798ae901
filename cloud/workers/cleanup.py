"""Clears away what is over in the domain database: codes, proofs, sessions, limits, messages that were delivered."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work
from cloud.workers.periodic import Periodic

_LOG = structlog.get_logger("segs.worker.cleanup")
_QUERIES = Queries("cleanup")
_AT_ONCE = 1000


class Cleanup(Periodic):
    """Every ten minutes."""

    name, every = "cleanup", timedelta(minutes=10)

    def __init__(self, *, dsn: str, at_once: int = _AT_ONCE) -> None:
        super().__init__(dsn=dsn, at_once=at_once)

    async def _some(self, domain: AsyncConnection, now: datetime) -> Mapping[str, int]:
        found = await domain.execute(_QUERIES["clear_expired"], {"limit": self._at_once, "now": now})
        return {table: rows for table, rows in await found.fetchall() if rows}

    def _tell(self, done: Mapping[str, int]) -> None:
        for table, rows in done.items():
            metrics.CLEARED.labels(table).inc(rows)
        if done:
            _LOG.info("cleared", rows=done)


def works(*, domain_dsn: str) -> list[Work]:
    """One kind of work."""
    return [Work(name="cleanup", step=Cleanup(dsn=domain_dsn).step, pause_s=60, share=0.5)]
