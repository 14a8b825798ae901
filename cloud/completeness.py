"""`segs-cloud completeness`: what was expected, what came, what is missing, by gateway stream and by meter."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import psycopg
import typer
from psycopg import sql
from psycopg.rows import class_row
from rich.console import Console
from rich.table import Table

from cloud.db.queries import Queries
from cloud.settings import Settings

_Row = TypeVar("_Row")
_QUERIES = Queries("completeness")
_SHOWN_RANGES = 3
_FORMATS = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]


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

    `gap_count` silences are longer than 1.5 intervals. `gaps` has their parts, the first hundred, each with its reason;
    `reasons` counts the missing readings of all of them by reason.
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


def measure(connection: psycopg.Connection, *, since: datetime, until: datetime, whole: bool) -> Completeness:
    """Completeness from `since` to `until`, streams by arrival, meters by reading time, all of one snapshot.

    `whole`: a meter is expected in all of that time, not only between its first and its last reading.
    """
    window = {"from": since, "to": until, "whole": whole}
    with connection.transaction():
        connection.execute(sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        return Completeness(
            since=since,
            until=until,
            streams=_all(connection, Stream, "streams", window),
            meters=_all(connection, Meter, "meters", window),
            quarantine=_all(connection, Waiting, "quarantine", window),
        )


def completeness(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=_FORMATS, help="Start, UTC; else 24 hours before the end.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=_FORMATS, help="End, UTC; else now.")] = None,
    gateway: Annotated[str | None, typer.Option(help="Only this gateway.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if anything is missing.")] = False,
) -> None:
    """Name what is missing and why, of every gateway stream and every meter.

    With --from or --to a meter is expected all of that time, else from its first to its last reading.
    """
    end = _utc(until) or datetime.now(UTC)
    begin = _utc(since) or end - timedelta(days=1)
    if begin >= end:
        raise typer.BadParameter(f"--from {begin.isoformat()} is not before --to {end.isoformat()}")
    with psycopg.connect(Settings().telemetry, autocommit=True) as connection:
        found = measure(connection, since=begin, until=end, whole=bool(since or until))
    if gateway is not None:
        found = found.of(gateway)
    if as_json:
        print(
            json.dumps(
                asdict(found) | {"reasons": found.reasons, "complete": found.complete}, default=datetime.isoformat
            )
        )
    else:
        console = Console()
        for table in _tables(found):
            console.print(table)
    if strict and not found.complete:
        raise typer.Exit(1)


def _all(connection: psycopg.Connection, kind: type[_Row], query: str, window: dict[str, object]) -> list[_Row]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(_QUERIES[query], window).fetchall()


def _utc(time: datetime | None) -> datetime | None:
    if time is None or time.tzinfo is not None:
        return time
    return time.replace(tzinfo=UTC)


def _tables(found: Completeness) -> Iterator[Table]:
    window = f"{found.since:%Y-%m-%d %H:%M:%S} to {found.until:%Y-%m-%d %H:%M:%S} UTC"
    columns = ("gateway", "stream", "batches", "readings", "stored", "duplicates", "quarantined", "missing batches")
    streams = Table(*columns, title=f"Streams that delivered from {window}")
    for stream in found.streams:
        ranges = [f"{first}" if first == last else f"{first}-{last}" for first, last in stream.missing]
        streams.add_row(
            stream.gateway,
            stream.stream[:8],
            f"{stream.batches} ({stream.first_seq}-{stream.last_seq})",
            *(str(n) for n in (stream.readings, stream.stored, stream.duplicates, stream.quarantined)),
            _listed(stream.missing_batches, ranges),
        )
    yield streams
    meters = Table("meter", "device", "expected", "received", "quarantined", "missing", title=f"Readings from {window}")
    for meter in found.meters:
        silences = [f"{gap['from']} to {gap['to']} {_because(gap)}" for gap in meter.gaps]
        meters.add_row(
            meter.meter_code,
            f"{meter.gateway}/{meter.device}",
            *(str(n) for n in (meter.expected, meter.received, meter.quarantined)),
            _listed(meter.missing, silences),
        )
    yield meters
    if found.quarantine:
        waiting = Table("gateway", "device", "reason", "readings", title="Waiting in the quarantine")
        for block in found.quarantine:
            waiting.add_row(block.gateway, block.device, block.reason, str(block.readings))
        yield waiting


def _because(gap: dict[str, str | int]) -> str:
    return f"({gap['reason']}: {gap['detail']})" if gap["detail"] else f"({gap['reason']})"


def _listed(missing: int, where: list[str]) -> str:
    """How many, and the first few places."""
    if missing == 0:
        return "0"
    more = f", and {len(where) - _SHOWN_RANGES} more" if len(where) > _SHOWN_RANGES else ""
    return f"{missing}: {', '.join(where[:_SHOWN_RANGES])}{more}"
