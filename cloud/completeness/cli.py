"""`segs-cloud completeness`: what came and what did not, for people or as JSON."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from cloud.completeness.measure import measure
from cloud.completeness.show import report
from cloud.settings import Settings

# Wider than any table is: rich would cut names and numbers at the terminal's width.
_UNBOUNDED = 10_000


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-11-27T10:00 or 2026-11-27") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def completeness(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=_time,
            metavar="TIME",
            help="Start in UTC, as 2026-11-27T10:00 or 2026-11-27; else 24 hours before the end.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", parser=_time, metavar="TIME", help="End in UTC, as 2026-11-27T18:30; else now."),
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="Only this gateway.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if anything is missing.")] = False,
) -> None:
    """Name what is missing and why, of every gateway stream and every meter.

    With --from or --to a meter is expected all of that time, else from its first to its last reading.
    """
    end = until or datetime.now(UTC)
    begin = since or end - timedelta(days=1)
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
        console = Console(width=_UNBOUNDED)
        for part in report(found):
            if isinstance(part, str):
                print(part)
            else:
                console.print(part)
    if strict and not found.complete:
        raise typer.Exit(1)
