"""Gateways for people: a table of all, readable at 100 columns, and the details of one."""

from collections.abc import Iterator
from datetime import datetime

from rich.markup import escape
from rich.table import Table

from cloud.gateways.health import Gateway
from cloud.printable import printable

LEAST_WIDTH = 100
"""Columns of the table of all: a pipe says 80 of itself, and names would be cut in it."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def overview(gateways: list[Gateway]) -> Table:
    """One row a gateway; the second line of a cell has the lesser part of it."""
    table = Table(
        "gateway", "health", "key\nids", "devices", "last batch\nlast report", "backlog\nage", "delivered\nbatches"
    )
    table.columns[0].no_wrap = True
    for one in gateways:
        waiting = None if one.report is None else one.report.backlog
        table.add_row(
            escape(f"{one.registered.name}\n{printable(one.report.software) if one.report else ''}".rstrip()),
            escape(f"{one.health}\n{_first_trouble(one)}".rstrip()),
            ", ".join(map(str, one.registered.keys)) or "-",
            str(one.registered.devices),
            f"{_ago(one, one.heard.last_batch_at)}\n{_ago(one, one.heard.last_report_at)}",
            "-" if waiting is None else f"{waiting.readings}\n{_span(one.backlog_age_s)}",
            f"{one.heard.readings}\n{one.heard.batches}",
        )
    return table


def details(gateway: Gateway) -> Iterator[str]:
    """Lines of name and value; what a gateway has not said has no line."""
    heard, report = gateway.heard, gateway.report
    yield f"{gateway.registered.name}: {gateway.health}"
    yield f"key ids: {', '.join(map(str, gateway.registered.keys)) or 'none'}"
    yield f"devices: {gateway.registered.devices}"
    yield f"delivered: {heard.readings} readings in {heard.batches} batches"
    if heard.last_seq is not None:
        yield f"last batch: {_ago(gateway, heard.last_batch_at)}, number {heard.last_seq} of stream {heard.last_stream}"
    if report is None:
        yield "last report: none"
        return
    backlog, buffer, clock, lost = report.backlog, report.buffer, report.clock, report.given_up
    yield f"last report: {_ago(gateway, heard.last_report_at)}, by {printable(report.software)}"
    yield f"running when it reported: for {_span((report.sent_us - report.started_us) / 1e6)}"
    age = "" if gateway.backlog_age_s is None else f", the oldest {_span(gateway.backlog_age_s)} old"
    yield f"backlog: {backlog.readings} readings, {_size(backlog.bytes)}{age}"
    yield f"loss window: {report.loss_window_s:g} s"
    kernel = "calls it synchronized" if clock.synchronized else "does not call it synchronized"
    yield f"clock: {_offset(heard.clock_ahead_s)} when it reported; the gateway's kernel {kernel}"
    yield f"buffer: {_size(buffer.used_bytes)} of {_size(buffer.max_bytes)}"
    yield f"given up: {', '.join(f'{name} {getattr(lost, name)}' for name in lost.__struct_fields__)}"
    if report.lost_notes:
        yield f"notes that it had no room for: {report.lost_notes}; the reasons of some gaps are not known"
    yield f"meters: {report.meters}, silent: {report.silent_meters}"
    yield f"rejected messages: {report.rejected_messages}"
    for file in buffer.set_aside:
        yield f"damaged file that was kept: {printable(file)}"
    for trouble in report.troubles:
        yield f"trouble: {printable(trouble)}"


def _first_trouble(gateway: Gateway) -> str:
    troubles = gateway.report.troubles if gateway.report else []
    if not troubles:
        return ""
    more = f" (+{len(troubles) - 1})" if len(troubles) > 1 else ""
    return f"{printable(troubles[0])[:40]}{more}"


def _ago(gateway: Gateway, time: datetime | None) -> str:
    return "never" if time is None else f"{_span((gateway.now - time).total_seconds())} ago"


def _span(seconds: float | None) -> str:
    """In its largest unit and the one below."""
    if seconds is None:
        return "-"
    left = max(0, round(seconds))
    largest = next((place for place, (length, _) in enumerate(_UNITS) if left >= length), len(_UNITS) - 1)
    parts = []
    for length, unit in _UNITS[largest : largest + 2]:
        parts.append(f"{left // length} {unit}")
        left %= length
    return " ".join(parts)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


def _offset(ahead_s: float | None) -> str:
    if not ahead_s:
        return "as the receiver's"
    return f"{abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} the receiver's"
