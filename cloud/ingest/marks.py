"""Marks of what has to be computed again: left in the transaction that stores the rows."""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection

from cloud.db.queries import Queries
from cloud.ingest.rows import Rows

_QUERIES = Queries("ingest")
_MINUTE_US = 60_000_000
# A longer silence within a batch splits its span, so that late readings do not mark the time between.
_GAP_US = 15 * _MINUTE_US


async def leave(connection: AsyncConnection, rows: Rows, now: datetime) -> None:
    """Mark the minutes of `rows`."""
    if len(rows):
        await connection.execute(_QUERIES["mark_dirty"], _marks(rows) | {"now": now})


def spans(rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Meters, and the first and last of their reading times, microseconds since 1970, without a gap of `_GAP_US`."""
    order = np.lexsort((rows.time_us, rows.meter_id))
    meter_id, time_us = rows.meter_id[order], rows.time_us[order]
    first = np.append(True, (np.diff(meter_id) != 0) | (np.diff(time_us) > _GAP_US))
    return meter_id[first], time_us[first], time_us[np.append(first[1:], True)]


def _marks(rows: Rows) -> dict[str, list[int] | list[str]]:
    """Spans of reading times, microseconds since 1970, and for each the meters that share it, as an array literal.

    Meters whose spans touch the same minutes share the widest of them.
    """
    meter_id, first_us, last_us = spans(rows)
    minutes = np.stack((first_us, last_us)) // _MINUTE_US
    by_minutes = np.lexsort(minutes)
    changes = np.flatnonzero(np.diff(minutes[:, by_minutes], axis=1).any(axis=0)) + 1
    groups = np.split(by_minutes, changes)
    return {
        "meters": ["{" + ",".join(map(str, meter_id[group].tolist())) + "}" for group in groups],
        "first_us": [int(first_us[group].min()) for group in groups],
        "last_us": [int(last_us[group].max()) for group in groups],
    }
