"""`segs-cloud vee`: what validation found, what stands in for readings, and edits."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import psycopg
import typer

from cloud.command import a_day, a_time, group, require_span, show_json, tell, var_hours, watt_hours
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.errors import UnknownMeter
from cloud.instant import written
from cloud.operator import Row, actor, rows, telemetry_database
from cloud.vee.show import findings_table, history_table, quarters_table

app = group(help="Validation, estimates and edits of quarter-hours.")

_QUERIES = Queries("vee")
_QUARTER = timedelta(minutes=15)
Meter = Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")]
From = Annotated[datetime, typer.Option("--from", parser=a_time, metavar="TIME", help="Start, 2026-11-27T10:00Z.")]
To = Annotated[datetime, typer.Option("--to", parser=a_time, metavar="TIME", help="End, not inclusive.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept.")]
Import = Annotated[int | None, typer.Option(parser=watt_hours, metavar="WH", help="Imported energy.")]
Export = Annotated[int | None, typer.Option(parser=watt_hours, metavar="WH", help="Exported energy.")]
ReactiveImport = Annotated[
    int | None, typer.Option("--import-varh", parser=var_hours, metavar="VARH", help="Imported reactive energy.")
]
ReactiveExport = Annotated[
    int | None, typer.Option("--export-varh", parser=var_hours, metavar="VARH", help="Exported reactive energy.")
]
Beyond = Annotated[
    bool, typer.Option("--beyond-limit", help="Take more than the connection can carry; the reason then says so.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command()
def findings(
    first: Annotated[
        date | None, typer.Option("--from", parser=a_day, metavar="DAY", help="First local day, 2026-11-20.")
    ] = None,
    last: Annotated[
        date | None, typer.Option("--to", parser=a_day, metavar="DAY", help="Last local day, inclusive.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Findings that stand; of the last week, unless told otherwise."""
    until = last or datetime.now(UTC).date()
    since = first or until - timedelta(days=7)
    if since > until:
        raise typer.BadParameter(f"--from {since} is after --to {until}; give the earlier day first")
    with telemetry_database() as telemetry:
        found = rows(telemetry, _QUERIES["findings"], {"from": since, "to": until})
    if as_json:
        show_json(found)
    elif found:
        show_parts(findings_table(found))
    if not found:
        tell(f"No finding stands of the local days {since} to {until}.")


@app.command()
def show(
    meter: Meter,
    first: From,
    last: To,
    history: Annotated[bool, typer.Option("--history", help="Estimates and edits ever.")] = False,
    as_json: Json = False,
) -> None:
    """What holds of each quarter-hour; or everything that was ever put in its place."""
    require_span(first, last)
    with telemetry_database() as telemetry:
        span = {"meter_id": _meter_id(telemetry, meter), "from": first, "to": last}
        found = rows(telemetry, _QUERIES["versions" if history else "effective"], span)
    if as_json:
        show_json(found)
    elif found:
        show_parts(history_table(meter, found) if history else quarters_table(meter, found))
    if not found:
        what = "nothing was ever estimated or edited" if history else "no quarter-hour is known"
        tell(f"{meter}: {what} from {written(first)} to {written(last)}.")


@app.command()
def edit(
    meter: Meter,
    at: Annotated[
        datetime, typer.Option(parser=a_time, metavar="TIME", help="Start of the quarter-hour, 2026-11-27T10:00Z.")
    ],
    reason: Reason,
    import_wh: Import = None,
    export_wh: Export = None,
    import_varh: ReactiveImport = None,
    export_varh: ReactiveExport = None,
    beyond_limit: Beyond = False,
) -> None:
    """Set energy, reactive energy or both of a quarter-hour; what is not given stays as it is.

    It holds until it is revoked or edited again, energy with quality 7. Tariffs with power factors need reactive
    import, also where it is 0.
    """
    values = _values(import_wh=import_wh, export_wh=export_wh, import_varh=import_varh, export_varh=export_varh)
    with telemetry_database() as telemetry:
        meter_id = _meter_id(telemetry, meter)
        before = rows(telemetry, _QUERIES["effective"], {"meter_id": meter_id, "from": at, "to": at + _QUARTER})
        _act(telemetry, "edit", meter_id, reason, at=at, **values, beyond_limit=beyond_limit)
    tell(f"{meter}: {written(at)} to {written(at + _QUARTER)} has {_told(values)} now; {_was(before)}.")


@app.command()
def revoke(meter: Meter, first: From, last: To, reason: Reason) -> None:
    """End edits, and estimates made by hand: what is beneath them holds again."""
    require_span(first, last)
    with telemetry_database() as telemetry:
        ended = _act(telemetry, "revoke", _meter_id(telemetry, meter), reason, **{"from": first, "to": last})
    tell(f"{meter}: revoked what stood in for {ended} quarter-hours from {written(first)} to {written(last)}.")


@app.command()
def estimate(
    meter: Meter,
    first: From,
    last: To,
    reason: Reason,
    import_wh: Import = None,
    export_wh: Export = None,
    import_varh: ReactiveImport = None,
    export_varh: ReactiveExport = None,
    beyond_limit: Beyond = False,
) -> None:
    """Share the energy of a gap, where a bill or a read by eye tells it, out like the days before."""
    require_span(first, last)
    values = _values(import_wh=import_wh, export_wh=export_wh, import_varh=import_varh, export_varh=export_varh)
    with telemetry_database() as telemetry:
        span = {"from": first, "to": last}
        meter_id = _meter_id(telemetry, meter)
        made = _act(telemetry, "estimate", meter_id, reason, **span, **values, beyond_limit=beyond_limit)
    tell(f"{meter}: {_told(values)} shared out over {made} quarter-hours from {written(first)} to {written(last)}.")


def _meter_id(telemetry: psycopg.Connection, code: str) -> int:
    found = rows(telemetry, _QUERIES["meter"], {"code": code})
    if not found:
        raise UnknownMeter(code)
    return int(found[0]["meter_id"])


def _values(**given: int | None) -> dict[str, int | None]:
    if all(value is None for value in given.values()):
        options = [f"--{name.replace('_', '-')}" for name in given]
        raise typer.BadParameter(f"none of {', '.join(options)}; give one or more")
    return given


def _act(telemetry: psycopg.Connection, query: str, meter_id: int, reason: str, **parameters: object) -> int:
    """How many quarter-hours `query` made or ended."""
    who = {"meter_id": meter_id, "actor": actor(), "reason": reason, "now": datetime.now(UTC)}
    [done] = rows(telemetry, _QUERIES[query], {**who, **parameters})
    return int(done["quarters"])


def _told(values: dict[str, int | None]) -> str:
    return " and ".join(_amount(name, value) for name, value in values.items() if value is not None)


def _amount(name: str, value: int) -> str:
    register, _, unit = name.partition("_")
    return f"{value} varh of reactive {register}" if unit == "varh" else f"{value} Wh of {register}"


def _was(before: list[Row]) -> str:
    if not before:
        return "nothing was known of it"
    [held] = before
    known = {f"{name}_wh": held[f"energy_{name}_wh"] for name in ("import", "export")}
    known |= {f"{name}_varh": held[f"reactive_energy_{name}_varh"] for name in ("import", "export")}
    return f"it had {_told(known) or 'no energy'} ({held['source']}, quality {held['quality']})"
