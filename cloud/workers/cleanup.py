"""Clears away what is over in the domain database: codes, proofs, sessions, limits, messages that were delivered."""

from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work

_LOG = structlog.get_logger("segs.worker.cleanup")
_QUERIES = Queries("cleanup")
_EVERY = timedelta(minutes=10)
_AT_ONCE = 1000
_TIMEOUT_S = 20


class Cleanup:
    """`dsn` is the domain database's. While it is away, this waits and nothing else does."""

    def __init__(self, *, dsn: str, at_once: int = _AT_ONCE) -> None:
        self._dsn, self._at_once = dsn, at_once
        self._more = False

    async def step(self, _: AsyncConnection, now: datetime) -> bool:
        """A bounded number of rows in one transaction; whether there are more. Who begins goes on."""
        async with await AsyncConnection.connect(
            self._dsn,
            connect_timeout=_TIMEOUT_S,
            tcp_user_timeout=_TIMEOUT_S * 1000,
            application_name="segs-worker",
            options=f"-c statement_timeout={_TIMEOUT_S * 1000}",
        ) as domain:
            claim = {"every": timedelta(0) if self._more else _EVERY, "now": now}
            self._more = False
            if await (await domain.execute(_QUERIES["claim"], claim)).fetchone() != (True,):
                return False
            found = await domain.execute(_QUERIES["clear_expired"], {"limit": self._at_once, "now": now})
            cleared = {table: rows for table, rows in await found.fetchall() if rows}
        for table, rows in cleared.items():
            metrics.CLEARED.labels(table).inc(rows)
        if cleared:
            _LOG.info("cleared", rows=cleared)
        self._more = sum(cleared.values()) >= self._at_once
        return self._more


def works(*, domain_dsn: str) -> list[Work]:
    """Every ten minutes, by whichever worker comes first."""
    return [Work(name="cleanup", step=Cleanup(dsn=domain_dsn).step, pause_s=60, share=0.5)]
