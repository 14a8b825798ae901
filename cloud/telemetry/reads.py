"""Questions to the telemetry database, each one named statement, within what grant() said for the transaction.

Of a span that is asked for, only the parts in which the caller may read the meter are told. A meter that the caller may
not read at any time raises psycopg.Error SG060, NotFoundError of cloud.db.errors; a span without a length SG062.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from cloud.db.queries import Queries
from cloud.telemetry.rows import (
    Channels,
    Comparison,
    Completeness,
    Consumer,
    Energy,
    Heard,
    Interval,
    Reading,
    RegionLoad,
    RegionQuarter,
    Statistics,
)

Resolution = Literal["raw", "1m", "15m", "1h", "1d", "1mo"]

_Row = TypeVar("_Row")
_QUERIES = Queries("reads")


async def readings(
    connection: AsyncConnection, *, meter_id: int, since: datetime, until: datetime, limit: int
) -> list[Reading]:
    """The first `limit` readings in order of time; the rest is from just after the last of them on."""
    return await _all(connection, Reading, "readings", _span(meter_id, since, until) | {"limit": limit})


async def resolution(
    connection: AsyncConnection,
    *,
    since: datetime,
    until: datetime,
    pixels: int,
    now: datetime,
    interval_ms: int = 1000,
) -> Resolution:
    """The finest one of which a chart of so many pixels makes use, and which is kept since then."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        span = {"from": since, "to": until, "pixels": pixels, "now": now, "interval_ms": interval_ms}
        await cursor.execute(_QUERIES["resolution"], span)
        found: Resolution | None = await cursor.fetchone()
    assert found is not None
    return found


async def history(
    connection: AsyncConnection,
    *,
    meter_id: int,
    since: datetime,
    until: datetime,
    resolution: Resolution,
    limit: int,
    zone: str | None = None,
) -> list[Interval]:
    """The first `limit` intervals; the rest begins at the end of the last. Days are the meter's own without `zone`."""
    given = _span(meter_id, since, until) | {"resolution": resolution, "zone": zone, "limit": limit}
    return await _all(connection, Interval, "history", given)


async def channels(
    connection: AsyncConnection,
    *,
    meter_id: int,
    since: datetime,
    until: datetime,
    resolution: Resolution,
    limit: int,
    zone: str | None = None,
) -> list[Channels]:
    """As history(), which has more: no `raw`, which readings() has."""
    given = _span(meter_id, since, until) | {"resolution": resolution, "zone": zone, "limit": limit}
    return await _all(connection, Channels, "channels", given)


async def statistics(
    connection: AsyncConnection, *, meter_id: int, since: datetime, until: datetime, now: datetime
) -> list[Statistics]:
    """One for each part of the span that is the caller's, mostly one; none where no quarter-hour of it is."""
    return await _all(connection, Statistics, "statistics", _span(meter_id, since, until) | {"now": now})


async def energy(
    connection: AsyncConnection,
    *,
    meter_id: int,
    first: date,
    end: date,
    unit: Literal["1d", "1mo"],
    zone: str | None = None,
) -> list[Energy]:
    """Local days or months from `first` to before `end`, in the meter's own zone without `zone`."""
    given = {"meter_id": meter_id, "first": first, "end": end, "resolution": unit, "zone": zone}
    return await _all(connection, Energy, "energy", given)


async def compare(
    connection: AsyncConnection,
    *,
    meter_id: int,
    before: tuple[datetime, datetime],
    after: tuple[datetime, datetime],
    now: datetime,
) -> Comparison | None:
    """None where nothing of one of the spans is the caller's, or neither has begun."""
    given = dict(zip(("before_from", "before_to", "after_from", "after_to"), (*before, *after), strict=True))
    found = await _all(connection, Comparison, "compare", {"meter_id": meter_id, "now": now, **given})
    return found[0] if found else None


async def completeness(
    connection: AsyncConnection,
    *,
    meter_id: int,
    since: datetime,
    until: datetime,
    now: datetime,
    stretches: int = 20,
) -> list[Completeness]:
    """One for each registration of the meter and part of the span that is the caller's."""
    given = _span(meter_id, since, until) | {"now": now, "stretches": stretches}
    return await _all(connection, Completeness, "completeness", given)


async def regions(connection: AsyncConnection, *, names: Sequence[str], now: datetime) -> list[RegionLoad]:
    """Three of each region at most, by name: latest, hour, day."""
    return await _all(connection, RegionLoad, "regions", {"regions": list(names), "now": now})


async def region_history(
    connection: AsyncConnection, *, region: str, since: datetime, until: datetime, limit: int
) -> list[RegionQuarter]:
    """The first `limit` quarter-hours; the rest begins at the end of the last."""
    given = {"region": region, "from": since, "to": until, "limit": limit}
    return await _all(connection, RegionQuarter, "region_history", given)


async def top_consumers(
    connection: AsyncConnection, *, region: str, since: datetime, until: datetime, limit: int = 10
) -> list[Consumer]:
    """Of 31 days at most: SG063 beyond."""
    given = {"region": region, "from": since, "to": until, "limit": limit}
    return await _all(connection, Consumer, "top_consumers", given)


async def gateways(connection: AsyncConnection, *, gateways: Sequence[int]) -> list[Heard]:
    """Those of them that were ever heard."""
    return await _all(connection, Heard, "gateways", {"gateways": list(gateways)})


async def _all(connection: AsyncConnection, kind: type[_Row], query: str, given: dict[str, object]) -> list[_Row]:
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(_QUERIES[query], given)
        return await cursor.fetchall()


def _span(meter_id: int, since: datetime, until: datetime) -> dict[str, object]:
    return {"meter_id": meter_id, "from": since, "to": until}
