"""`segs-cloud region`: regions, and what their supplies can carry."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from cloud.command import Since, group, show_json, table, tell, watts
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import Row, domain_transaction, registration, rows
from cloud.printable import printable

app = group(help="Regions of the grid: meters are summed and priced by them.")
_QUERIES = Queries("api_regions")
Region = Annotated[str, typer.Argument(help="Short name: lower-case letters, digits, hyphen and underscore.")]


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Regions, with what their supplies can carry now."""
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["list"], {"now": _now()})
    if as_json:
        show_json(found)
        return
    shown = table(f"{len(found)} regions", "region", "name", "zone", "carries", "since")
    for one in found:
        known, since = one["capacity_w"] is not None, one["capacity_since"]
        carries = f"{one['capacity_w']:,.0f} W" if known else "-"
        begin = "-" if not known else "always" if since is None else written(since)
        shown.add_row(one["region"], escape(printable(one["name"])), one["timezone"], carries, begin)
    show_parts(shown)


@app.command("set")
def set_(
    region: Region,
    name: Annotated[str | None, typer.Option(help="Name for people; of a new one, its short name.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA zone that its new meters get; of a new one, UTC.")] = None,
) -> None:
    """Make a region, or change name or zone of one. Meters that are there keep their zone."""
    now = _now()
    with registration() as domain:
        before = rows(domain, _QUERIES["region"], {"region": region, "now": now})
        made = {"name": name, "timezone": timezone or (None if before else "UTC"), "capacity_w": None}
        domain.execute(_QUERIES["set"], {"region": region, "now": now, **made})
        [after] = rows(domain, _QUERIES["region"], {"region": region, "now": now})
    told = "is made" if not before else "is changed" if before != [after] else "is so already"
    tell(f"{region} {told}: {printable(after['name'])}, {after['timezone']}.")


@app.command()
def capacity(
    region: Region,
    capacity_w: Annotated[
        float | None, typer.Argument(parser=watts, metavar="W", help="What its supply can carry; unknown without one.")
    ] = None,
    since: Since = None,
) -> None:
    """Say what a region's supply can carry from then on. What was before stays; loads since then are computed anew."""
    now = _now()
    what = {"region": region, "capacity_w": capacity_w, "from": since or now, "now": now}
    with registration() as domain:
        domain.execute(_QUERIES["capacity_set"], what)
        found = rows(domain, _QUERIES["capacities"], {"region": region})
    tell("\n".join(f"{region}: {_capacity(one)}" for one in found) or f"{region}: what it can carry is unknown.")


@app.command()
def remove(region: Region) -> None:
    """Remove a region that was made by mistake. One that anything is in, or ever was, stays."""
    with registration() as domain:
        domain.execute(_QUERIES["remove"], {"region": region})
    tell(f"{region} is removed.")


def _capacity(one: Row) -> str:
    begin = "always" if one["from"] is None else written(one["from"])
    end = "" if one["to"] is None else f" to {written(one['to'])}"
    return f"{one['capacity_w']:,.0f} W from {begin}{end}."


def _now() -> datetime:
    return datetime.now(UTC)
