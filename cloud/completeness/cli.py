"""`segs-cloud completeness`: what came and what did not, for people or as JSON."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cloud.command import a_time, require_span, show, show_json
from cloud.completeness.measure import Completeness, measure
from cloud.completeness.show import report
from cloud.instant import parse, written
from cloud.operator import telemetry_database


def completeness(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=a_time,
            metavar="TIME",
            help="Start, 2026-11-27T10:00Z; else 24 hours before the end.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", parser=a_time, metavar="TIME", help="End, not inclusive; else now."),
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="Only this gateway.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if anything is missing.")] = False,
) -> None:
    """Name what is missing and why, of every gateway stream and every meter.

    With --from or --to a meter is expected all of that time, else from its first to its last reading.
    """
    end = until or datetime.now(UTC)
    begin = since or end - timedelta(days=1)
    require_span(begin, end)
    with telemetry_database(autocommit=True) as connection:
        found = measure(connection, since=begin, until=end, whole=bool(since or until), gateway=gateway)
    if as_json:
        show_json(_document(found))
    else:
        show(*report(found))
    if strict and not found.complete:
        raise typer.Exit(1)


def _document(found: Completeness) -> dict[str, object]:
    document = asdict(found) | {"reasons": found.reasons, "complete": found.complete}
    for meter in document["meters"]:
        for part in (*meter["gaps"], *meter["stretches"]):
            part |= {end: written(parse(part[end])) for end in ("from", "to")}
    return document
