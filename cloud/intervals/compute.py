"""Reads through the same SQL as the readings of gateways, in a database that is dropped again."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from cloud.command import DEFAULT_MAX_POWER_W
from cloud.db.queries import Queries
from cloud.intervals.reads import Reads
from cloud.schema.loader import load
from cloud.schema.scratch import mastered

_QUERIES = Queries("intervals")
_UNITS = {"15m": "hour", "1h": "hour", "1d": "day", "1mo": "month"}


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy from `start`, for the resolution asked for; None for a register of which nothing is known then.

    `quality` is the worst ESPI QualityOfReading code in it, `coverage` the percentage of it that reads cover.
    """

    start: datetime
    import_wh: int | None
    export_wh: int | None
    quality: int
    coverage: float


def intervals(
    dsn: str,
    reads: Reads,
    *,
    resolution: str,
    zone: str = "UTC",
    rollover_wh: int | None = None,
    max_power_w: float = DEFAULT_MAX_POWER_W,
) -> list[Interval]:
    """The intervals that `reads` reach into, in order. `dsn` names the server on which the scratch database is made.

    `resolution` is 15m, 1h, or 1d and 1mo of `zone`. `rollover_wh` is where the registers wrap; without it a register
    that falls is not believed. Raises SchemaError.
    """
    with mastered(dsn, load("telemetry")) as connection:
        first, last = reads.reads[0].at, reads.reads[-1].at
        connection.execute(_QUERIES["one_chunk"])
        meter = {
            "modulus_wh": rollover_wh,
            "max_power_w": max_power_w,
            "interval_ms": max(1, round(reads.interval.total_seconds() * 1000)),
        }
        connection.execute(_QUERIES["meter"], meter)
        _store(connection, reads)
        connection.execute(_QUERIES["mark"], {"first": first, "last": last})
        _work_off(connection, "minutes", first)
        connection.execute(_QUERIES["unknown"], {"first": first, "last": last})
        _work_off(connection, "quarters", first)
        with connection.cursor(row_factory=class_row(Interval)) as cursor:
            wanted = {"resolution": resolution, "unit": _UNITS[resolution], "zone": zone, "first": first, "last": last}
            return cursor.execute(_QUERIES["intervals"], wanted).fetchall()


def _store(connection: psycopg.Connection, reads: Reads) -> None:
    with connection.cursor() as cursor:
        with cursor.copy(_QUERIES["reads"]) as copy:
            for read in reads.reads:
                copy.write_row((read.at, 1, 1, read.import_wh, read.export_wh))
        for exchange in reads.exchanges:
            final = exchange.final.values if exchange.final else (None, None)
            for register, (before, after) in enumerate(zip(final, exchange.first.values, strict=True), start=1):
                row = {"register": register, "at": exchange.at, "final": before, "first": after}
                cursor.execute(_QUERIES["epoch"], row)


def _work_off(connection: psycopg.Connection, step: str, now: datetime) -> None:
    """`now` is the first read: nothing of it is too old to be kept."""
    while True:
        row = connection.execute(_QUERIES[step], {"now": now}).fetchone()
        assert row is not None
        if row[0] == 0:
            return
