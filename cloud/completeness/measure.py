"""What was expected, what came, what is missing, and why: by gateway stream and by meter."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from cloud.db.queries import Queries
from cloud.errors import UnknownGateway

_Row = TypeVar("_Row")
_QUERIES = Queries("completeness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream of a gateway. `missing` holds inclusive ranges of sequence numbers that never came."""

    gateway: str
    stream: str
    first_seq: int
    last_seq: int
    batches: int
    readings: int
    stored: int
    duplicates: int
    quarantined: int
    missing_batches: int
    missing: list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One meter under one registration.

    `gap_count` gaps lack readings by the rate. `gaps` has their parts, the newest hundred, each with its reason;
    `stretches` has neighbours among all parts for one reason as one, the newest hundred of these. `reasons` counts the
    missing readings by reason.
    """

    meter_code: str
    gateway: str
    device: str
    interval_ms: int
    first_time: datetime | None
    last_time: datetime | None
    expected: int
    received: int
    missing: int
    gap_count: int
    gaps: list[dict[str, str | int]]
    stretches: list[dict[str, str | int]]
    reasons: dict[str, int]
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Readings of one device that wait in the quarantine for one reason."""

    gateway: str
    device: str
    reason: str
    readings: int
    first_time: datetime
    last_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """What came from `since` to `until`."""

    since: datetime
    until: datetime
    streams: list[Stream]
    meters: list[Meter]
    quarantine: list[Waiting]

    def of(self, gateway: str) -> "Completeness":
        """What is said of one gateway."""
        return replace(
            self,
            streams=[stream for stream in self.streams if stream.gateway == gateway],
            meters=[meter for meter in self.meters if meter.gateway == gateway],
            quarantine=[block for block in self.quarantine if block.gateway == gateway],
        )

    @property
    def reasons(self) -> dict[str, int]:
        """Missing readings of all meters by reason."""
        total: Counter[str] = Counter()
        for meter in self.meters:
            total.update(meter.reasons)
        return dict(total)

    @property
    def complete(self) -> bool:
        """Nothing is missing, and nothing waits in the quarantine."""
        return not (
            any(stream.missing_batches for stream in self.streams)
            or any(meter.missing for meter in self.meters)
            or self.quarantine
        )


def measure(
    connection: psycopg.Connection, *, since: datetime, until: datetime, whole: bool, gateway: str | None = None
) -> Completeness:
    """Completeness from `since` to `until`, streams by arrival, meters by reading time, all of one snapshot.

    `whole`: a meter is expected in all of that time, not only between its first and its last reading. `gateway` leaves
    out all others; UnknownGateway where there is none of that name: its emptiness would look complete.
    """
    window = {"from": since, "to": until, "whole": whole}
    with connection.transaction():
        connection.execute(sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        if gateway is not None and not connection.execute(_QUERIES["gateway"], {"name": gateway}).fetchone():
            raise UnknownGateway(gateway)
        found = Completeness(
            since=since,
            until=until,
            streams=_all(connection, Stream, "streams", window),
            meters=_all(connection, Meter, "meters", window),
            quarantine=_all(connection, Waiting, "quarantine", window),
        )
    return found if gateway is None else found.of(gateway)


def _all(connection: psycopg.Connection, kind: type[_Row], query: str, window: dict[str, object]) -> list[_Row]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(_QUERIES[query], window).fetchall()
