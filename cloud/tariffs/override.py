"""`segs-cloud tariff override`: prices that operators set for a while, in place of what the load of a region makes."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape

from cloud.command import a_time, group, show_json, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import Row, domain_transaction, rows
from cloud.printable import printable
from cloud.tariffs.amount import a_price

app = group(help="Prices that are set for a while, in place of what the load of a region makes.")

_QUERIES = Queries("region_prices")
_MOST = 200
Region = Annotated[str, typer.Option(help="The region.")]
Reason = Annotated[str, typer.Option(help="Why; customers read it.")]


@app.command()
def add(
    region: Region,
    until: Annotated[
        datetime, typer.Option(parser=a_time, metavar="TIME", help="Until when, the end of a quarter-hour.")
    ],
    reason: Reason,
    factor: Annotated[
        Decimal | None, typer.Option(parser=a_price, metavar="FACTOR", help="Factor on the base price: 1.5.")
    ] = None,
    price: Annotated[
        Decimal | None, typer.Option(parser=a_price, metavar="PRICE", help="Price of a kWh: 0.90.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--from", parser=a_time, metavar="TIME", help="Since when; else the next quarter-hour."),
    ] = None,
) -> None:
    """Set the price of a region for a while. It wins over the load's until its end; customers are told."""
    if (factor is None) == (price is None):
        raise typer.BadParameter("give --factor or --price, and not both")
    what = {"region": region, "factor": factor, "price": price, "from": since, "until": until, "reason": reason}
    with domain_transaction() as domain:
        [made] = rows(domain, _QUERIES["add"], what)
        [found] = rows(domain, _QUERIES["overrides"], _asked(region, made["override_id"]))
    typer.echo(made["override_id"])
    tell(f"{region}: {_price(found)} from {written(found['from'])} to {written(found['until'])}.")


@app.command("list")
def list_(
    region: Region,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Overrides of a region, the latest first, 200 at most."""
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["overrides"], _asked(region))[:_MOST]
    if as_json:
        show_json(found)
        return
    made = table(f"{len(found)} overrides", "number", "price", "from", "until", "ended", "by", "reason")
    for one in found:
        ended = "-" if one["ended_at"] is None else written(one["ended_at"])
        when = (written(one["from"]), written(one["until"]), ended)
        by, reason = escape(printable(one["made_by"])), escape(printable(one["reason"]))
        made.add_row(str(one["override_id"]), _price(one), *when, by, reason)
    show_parts(made)


@app.command()
def end(
    number: Annotated[int, typer.Argument(help="Number of the override.")],
    region: Region,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
) -> None:
    """End an override with this quarter-hour, or before it begins. What was in force stays as it was."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["end"], {"region": region, "override": number, "reason": reason})
    tell(f"{region}: override {number} ends with this quarter-hour.")


def _asked(region: str, number: int | None = None) -> dict[str, object]:
    return {"region": region, "after": 0, "limit": _MOST, "override": number}


def _price(one: Row) -> str:
    return f"x {one['factor']}" if one["price_per_kwh"] is None else str(one["price_per_kwh"])
