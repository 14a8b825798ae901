"""`segs-cloud vee`: what validation found, what stands in for readings, and edits."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import psycopg
import typer
from psycopg.rows import dict_row

from cloud.db.queries import Queries
from cloud.errors import UnknownMeter
from cloud.instant import parse
from cloud.operator import actor
from cloud.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Validation, estimates and edits of quarter-hours.")

_QUERIES = Queries("vee")
Meter = Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")]
From = Annotated[str, typer.Option("--from", help="Start, with its offset: 2026-03-01T00:00Z.")]
To = Annotated[str, typer.Option("--to", help="End, not inclusive.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept.")]
Import = Annotated[int | None, typer.Option(min=0, help="Imported energy, Wh.")]
Export = Annotated[int | None, typer.Option(min=0, help="Exported energy, Wh.")]


@contextmanager
def _telemetry() -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(Settings().telemetry, row_factory=dict_row) as connection:
        yield connection


def _meter_id(connection: psycopg.Connection[dict[str, Any]], code: str) -> int:
    row = connection.execute(_QUERIES["meter"], {"code": code}).fetchone()
    if row is None:
        raise UnknownMeter(code)
    return int(row["meter_id"])


def _print(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps({name: value for name, value in row.items() if value is not None}, default=_text))


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


@app.command()
def findings(
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First local day.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last local day.")] = None,
) -> None:
    """Findings that stand, one JSON object a line; of the last week, unless told otherwise."""
    until = date.today() if last is None else last.date()
    since = until - timedelta(days=7) if first is None else first.date()
    with _telemetry() as connection:
        _print(connection.execute(_QUERIES["findings"], {"from": since, "to": until}).fetchall())


@app.command()
def show(
    meter: Meter,
    first: From,
    last: To,
    history: Annotated[bool, typer.Option(help="Estimates and edits ever.")] = False,
) -> None:
    """What holds of each quarter-hour, one JSON object a line; or everything that was ever put in its place."""
    with _telemetry() as connection:
        span = {"meter_id": _meter_id(connection, meter), "from": parse(first), "to": parse(last)}
        _print(connection.execute(_QUERIES["versions" if history else "effective"], span).fetchall())


@app.command()
def edit(
    meter: Meter,
    at: Annotated[str, typer.Option(help="Start of the quarter-hour.")],
    reason: Reason,
    import_wh: Import = None,
    export_wh: Export = None,
) -> None:
    """Set the energy of a quarter-hour. It holds, with quality 7, until it is revoked or edited again."""
    if import_wh is None and export_wh is None:
        raise typer.BadParameter("give --import-wh, --export-wh or both")
    _act("edit", meter, reason, at=parse(at), import_wh=import_wh, export_wh=export_wh)


@app.command()
def revoke(meter: Meter, first: From, last: To, reason: Reason) -> None:
    """End edits, and estimates made by hand: what is beneath them holds again."""
    _act("revoke", meter, reason, **{"from": parse(first), "to": parse(last)})


@app.command()
def estimate(
    meter: Meter, first: From, last: To, reason: Reason, import_wh: Import = None, export_wh: Export = None
) -> None:
    """Share the energy of a gap, where a bill or a read by eye tells it, out like the days before."""
    _act(
        "estimate", meter, reason, **{"from": parse(first), "to": parse(last)}, import_wh=import_wh, export_wh=export_wh
    )


def _act(query: str, meter: str, reason: str, **parameters: object) -> None:
    with _telemetry() as connection:
        who = {"actor": actor(), "reason": reason, "now": datetime.now(UTC)}
        row = connection.execute(
            _QUERIES[query], {"meter_id": _meter_id(connection, meter), **who, **parameters}
        ).fetchone()
    assert row is not None
    typer.echo(f"{next(iter(row.values()))} quarter-hours", err=True)
