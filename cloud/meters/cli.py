"""`segs-cloud meter`: meters that move, are exchanged, or have registers that wrap."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cloud.db.queries import Queries
from cloud.instant import parse
from cloud.operator import registration

app = typer.Typer(no_args_is_help=True, help="Meters that move, are exchanged, or have registers that wrap.")

_QUERIES = Queries("meter")


@app.callback()
def meter() -> None:
    """Meters that move, are exchanged, or have registers that wrap."""


@app.command()
def move(
    code: Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")],
    region: Annotated[str, typer.Option(help="Region that it counts in from then on.")],
    timezone: Annotated[str | None, typer.Option(help="IANA zone of its days and bills; else the region's.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="When, 2026-03-01T00:00Z; else now.")] = None,
) -> None:
    """A meter is in another region. What was before stays as it was; the regions' sums since then are made again."""
    now = datetime.now(UTC)
    since_then = now if since is None else parse(since)
    what = {"code": code, "region": region, "timezone": timezone, "now": now, "from": since_then}
    with registration() as domain:
        domain.execute(_QUERIES["move"], what)


_Register = Annotated[int | None, typer.Option(min=0, help="Read at that instant, Wh; leave it out if nobody took it.")]


@app.command()
def exchange(
    code: Annotated[str, typer.Argument(help="Code of the metering point, MTR-00000001.")],
    serial: Annotated[str, typer.Option(help="Serial number of the new meter.")],
    model: Annotated[str | None, typer.Option(help="Model of the new meter, if it is another one.")] = None,
    at: Annotated[str | None, typer.Option(help="When, 2026-03-01T09:30Z; else now.")] = None,
    final_import_wh: _Register = None,
    final_export_wh: _Register = None,
    first_import_wh: _Register = None,
    first_export_wh: _Register = None,
) -> None:
    """Another meter measures from then on: up to the final reads of the old one, and from the first of the new."""
    now = datetime.now(UTC)
    what = {
        "code": code,
        "serial": serial,
        "model": model,
        "at": now if at is None else parse(at),
        "final_import_wh": final_import_wh,
        "final_export_wh": final_export_wh,
        "first_import_wh": first_import_wh,
        "first_export_wh": first_export_wh,
        "now": now,
    }
    with registration() as domain:
        domain.execute(_QUERIES["exchange"], what)


@app.command()
def registers(
    code: Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")],
    rollover_wh: Annotated[int | None, typer.Option(min=1, help="Where its registers wrap to 0, Wh.")] = None,
    resets: Annotated[
        bool | None, typer.Option("--resets/--no-resets", help="Whether they may begin again at any time.")
    ] = None,
) -> None:
    """Say how a meter's registers behave. What is kept of their reads is looked at again."""
    what = {"code": code, "modulus_wh": rollover_wh, "resets": resets, "now": datetime.now(UTC)}
    with registration() as domain:
        domain.execute(_QUERIES["registers"], what)
