"""Finds bills that nobody paid in time: overdue is set, and not only computed by who happens to look."""

from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers.loop import Work

_LOG = structlog.get_logger("segs.worker.overdue")
_QUERIES = Queries("overdue")
_EVERY = timedelta(minutes=5)
_AT_ONCE = 500
_TIMEOUT_S = 20


class Overdue:
    """`dsn` is the domain database's. While it is away, this waits and nothing else does."""

    def __init__(self, *, dsn: str, at_once: int = _AT_ONCE) -> None:
        self._dsn, self._at_once = dsn, at_once
        self._more = False

    async def step(self, _: AsyncConnection, now: datetime) -> bool:
        """A bounded number of bills in one transaction; whether there are more. Who begins goes on."""
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
            row = await (await domain.execute(_QUERIES["overdue"], {"limit": self._at_once, "now": now})).fetchone()
        bills = row[0] if row else 0
        if bills:
            _LOG.info("overdue", bills=bills)
        self._more = bills >= self._at_once
        return self._more


def works(*, domain_dsn: str) -> list[Work]:
    """Every five minutes, by whichever worker comes first."""
    return [Work(name="overdue", step=Overdue(dsn=domain_dsn).step, pause_s=60, share=0.5)]
