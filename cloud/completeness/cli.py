"""`segs-cloud completeness`: what came and what did not, in tables or as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from cloud.completeness.measure import Completeness, measure
from cloud.settings import Settings

_SHOWN_RANGES = 3
_FORMATS = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]


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
        found = measure(connection, since=begin, until=end, whole=bool(since or until), gateway=gateway)
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
