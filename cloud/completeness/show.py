"""Completeness for people: tables of numbers, and below them what is missing, a line each.

Names, codes and times are never cut: a table is as wide as it must be, and lines are left to the terminal.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from cloud.command import table
from cloud.completeness.measure import Completeness, Meter, Stream
from cloud.printable import printable

_SHOWN = 20


def report(found: Completeness) -> Iterator[Table | str]:
    """Tables, and lines of text."""
    yield _streams(found)
    for stream in found.streams:
        if stream.missing_batches:
            yield _missing_batches(stream)
    yield ""
    yield _meters(found)
    for meter in found.meters:
        yield from _gaps(meter)
    if any(found.reasons.values()):
        most = sorted(found.reasons.items(), key=lambda one: -one[1])
        sums = (f"{reason} {missing}" for reason, missing in most if missing)
        yield f"missing by reason: {', '.join(sums)}"
    if found.quarantine:
        yield ""
        yield _waiting(found)


def _streams(found: Completeness) -> Table:
    columns = ("gateway", "stream", "batches", "readings", "stored", "duplicates", "quarantined", "missing")
    shown = table(f"Streams that delivered from {_window(found)}", *columns)
    for stream in found.streams:
        shown.add_row(
            escape(stream.gateway),
            stream.stream[:8],
            f"{stream.batches} ({stream.first_seq}-{stream.last_seq})",
            *(str(n) for n in (stream.readings, stream.stored, stream.duplicates, stream.quarantined)),
            str(stream.missing_batches),
        )
    return shown


def _meters(found: Completeness) -> Table:
    columns = ("meter", "device", "expected", "received", "quarantined", "missing")
    shown = table(f"Readings from {_window(found)}", *columns)
    for meter in found.meters:
        numbers = (meter.expected, meter.received, meter.quarantined, meter.missing)
        shown.add_row(meter.meter_code, escape(f"{meter.gateway}/{meter.device}"), *map(str, numbers))
    return shown


def _waiting(found: Completeness) -> Table:
    shown = table("Waiting in the quarantine", "gateway", "device", "reason", "readings")
    for block in found.quarantine:
        shown.add_row(escape(block.gateway), escape(block.device), block.reason, str(block.readings))
    return shown


def _missing_batches(stream: Stream) -> str:
    ranges = [f"{first}" if first == last else f"{first}-{last}" for first, last in stream.missing]
    earlier = f"{len(ranges) - _SHOWN} earlier ranges and " if len(ranges) > _SHOWN else ""
    return f"{stream.gateway} {stream.stream[:8]}  missing batches: {earlier}{', '.join(ranges[-_SHOWN:])}"


def _gaps(meter: Meter) -> Iterator[str]:
    """The newest stretches, newest last; how much the earlier ones lack is the first line."""
    name = f"{meter.meter_code} {meter.gateway}/{meter.device}"
    shown = meter.stretches[-_SHOWN:]
    earlier = meter.missing - sum(int(stretch["missing"]) for stretch in shown)
    if earlier:
        yield f"{name}  {earlier} missing earlier; --from and --to show when, or --json"
    for stretch in shown:
        detail = f": {printable(str(stretch['detail']))}" if stretch["detail"] else ""
        spread = f" in {stretch['gaps']} gaps" if int(stretch["gaps"]) > 1 else ""
        span = _span(str(stretch["from"]), str(stretch["to"]))
        yield f"{name}  {span}  {stretch['missing']} missing{spread}  {stretch['reason']}{detail}"


def _span(begin: str, end: str) -> str:
    first, last = (datetime.fromisoformat(time).astimezone(UTC) for time in (begin, end))
    return (
        f"{first:%Y-%m-%d %H:%M:%S} to {last:{'%H:%M:%S' if first.date() == last.date() else '%Y-%m-%d %H:%M:%S'}} UTC"
    )


def _window(found: Completeness) -> str:
    return f"{found.since:%Y-%m-%d %H:%M:%S} to {found.until:%Y-%m-%d %H:%M:%S} UTC"
