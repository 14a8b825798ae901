"""Prices that follow the load of a region: reads quarter-hours from telemetry, and tells the domain, which decides."""

from datetime import datetime

import structlog
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.workers import metrics
from cloud.workers.loop import Work
from cloud.workers.periodic import connected

_LOG = structlog.get_logger("segs.worker.prices")
_QUERIES = Queries("prices")


class Prices:
    """`dsn` is the domain database's. How far each region is, is kept there, with its prices: who dies between reading
    and telling has changed nothing, and of two at once the second finds nothing left."""

    def __init__(self, *, dsn: str) -> None:
        self._dsn = dsn

    async def step(self, telemetry: AsyncConnection, _: datetime) -> bool:
        """All regions once; there is never more to do at once."""
        async with await connected(self._dsn) as domain:
            due = await (await domain.execute(_QUERIES["due"])).fetchall()
            # Telemetry is waited for without a transaction of the domain.
            await domain.commit()
            if not due:
                return False
            asked = {"regions": [row[0] for row in due], "since": [row[1] for row in due], "looked_at": due[0][2]}
            async with telemetry.transaction():
                found = await (await telemetry.execute(_QUERIES["loads"], asked)).fetchone()
            assert found is not None
            changed = await (await domain.execute(_QUERIES["decide"], {**asked, "loads": found[0]})).fetchall()
        for region, since, tier, load, told in changed:
            metrics.PRICES.inc()
            _LOG.info(
                "price_changes",
                region=region,
                since=since.isoformat(),
                tier=tier,
                load_percent=round(float(load), 1),
                told=told,
            )
        return False


def works(*, domain_dsn: str) -> list[Work]:
    """One kind of work."""
    return [Work(name="prices", step=Prices(dsn=domain_dsn).step, pause_s=30)]
