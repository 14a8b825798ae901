"""`segs-cloud alerts maintenance`: when work is done, and nobody is told of alerts."""

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from cloud.command import Since, a_time, group, show_json, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import domain_transaction, rows
from cloud.printable import printable

app = group(help="Maintenance windows: when work is done, and nobody is told of alerts.")

_QUERIES = Queries("api_alerts")
_MOST = 10_000


@app.command()
def add(
    until: Annotated[datetime, typer.Option(parser=a_time, metavar="TIME", help="Until when, which is yet to come.")],
    reason: Annotated[str, typer.Option(help="What is done.")],
    meter: Annotated[str | None, typer.Option(help="At the meter with this code.")] = None,
    gateway: Annotated[str | None, typer.Option(help="At this gateway and what it reads.")] = None,
    site: Annotated[str | None, typer.Option(help="At this site and its meters.")] = None,
    region: Annotated[str | None, typer.Option(help="In this region.")] = None,
    since: Since = None,
) -> None:
    """Say when work is done. Alerts are recorded meanwhile; people are told afterwards of what is not over."""
    what = {"meter": meter, "gateway": gateway, "site": site, "region": region}
    if sum(one is not None for one in what.values()) != 1:
        raise typer.BadParameter("give --meter, --gateway, --site or --region, and one of them only")
    with domain_transaction() as domain:
        asked = what | {"from": since, "until": until, "reason": reason}
        [made] = rows(domain, _QUERIES["maintenance_add"], asked)
    typer.echo(made["window_id"])
    tell(f"Nobody is told until {written(until)}.")


@app.command("list")
def list_(
    history: Annotated[bool, typer.Option(help="Also those that are over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Maintenance that is under way or to come, the newest first."""
    with domain_transaction() as domain:
        asked = {"after": 0, "limit": _MOST, "window": None, "history": history}
        found = rows(domain, _QUERIES["maintenance"], asked)[:_MOST]
    if as_json:
        show_json(found)
        return
    made = table(f"{len(found)} windows", "number", "of", "from", "until", "by", "reason")
    for one in found:
        of = next(f"{name} {one[name]}" for name in ("meter", "gateway", "site", "region") if one[name] is not None)
        by = "-" if one["created_by"] is None else f"user {one['created_by']}"
        when = (written(one["from"]), written(one["until"]))
        made.add_row(str(one["window_id"]), escape(printable(of)), *when, by, escape(printable(one["reason"])))
    show_parts(made)


@app.command()
def end(number: Annotated[int, typer.Argument(help="Number of the window.")]) -> None:
    """End maintenance now; what has not begun goes. Who waited to be told is told."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["maintenance_end"], {"window": number})
    tell(f"Maintenance window {number} ended.")
