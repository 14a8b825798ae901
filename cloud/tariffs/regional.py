"""`segs-cloud tariff regional`: the price that a region has by its load, and by which rules."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from cloud.command import show as show_parts
from cloud.command import show_json, table, tell
from cloud.db.queries import Queries
from cloud.errors import CloudError
from cloud.instant import written
from cloud.operator import Row, domain_transaction, rows
from cloud.tariffs.amount import a_price, plain, some

_QUERIES = Queries("region_prices")
_OWN = ("thresholds", "factors", "hysteresis", "coverage")


class Unpriced(CloudError):
    """A region without a price of its own."""

    def __init__(self, region: str) -> None:
        super().__init__(f"region {region} has no price of its own; --price and --currency give it one")
        self.region = region


def regional(
    region: Annotated[str, typer.Argument(help="The region.")],
    price: Annotated[
        Decimal | None, typer.Option(parser=a_price, metavar="PRICE", help="Price of a kWh at factor 1: 0.40.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="ISO 4217 code; of the first price it has to be said.")] = None,
    thresholds: Annotated[
        str | None, typer.Option(metavar="PERCENTS", help="Where tiers begin, percent of the capacity: 25,50,75,90.")
    ] = None,
    factors: Annotated[
        str | None, typer.Option(metavar="FACTORS", help="Of each tier, one more than thresholds: 0.8,0.9,1,1.1,1.25.")
    ] = None,
    hysteresis: Annotated[
        Decimal | None,
        typer.Option(parser=a_price, metavar="POINTS", help="Percent points below a threshold where its tier ends."),
    ] = None,
    coverage: Annotated[
        Decimal | None,
        typer.Option(parser=a_price, metavar="PERCENT", help="How much of a quarter-hour has to be known."),
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Rules that are not named are those of all regions again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Show the price of a region and its rules, or change what options name, from the next quarter-hour on."""
    said: dict[str, Any] = {
        "base_price": price,
        "currency": currency,
        "thresholds": thresholds and some(thresholds),
        "factors": factors and some(factors),
        "hysteresis": hysteresis,
        "coverage": coverage,
    }
    with domain_transaction() as domain:
        if defaults or any(value is not None for value in said.values()):
            [own] = rows(domain, _QUERIES["own"], {"region": region}) or [{}]
            kept = {} if defaults else {name: own.get(name) for name in _OWN}
            wanted = {name: said[name] if said[name] is not None else kept.get(name) for name in _OWN}
            paid = {
                name: said[name] if said[name] is not None else own.get(name) for name in ("base_price", "currency")
            }
            if None in paid.values():
                raise Unpriced(region)
            domain.execute(_QUERIES["set"], {"region": region, **wanted, **paid})
        found = rows(domain, _QUERIES["rules"], {"region": region})
        if not found:
            raise Unpriced(region)
        spans = rows(domain, _QUERIES["spans"], {"region": region, "since": None})
    if as_json:
        show_json({**found[0], "region": region, "prices": spans})
        return
    _show(region, found[0], spans)


def _show(region: str, rules: Row, spans: list[Row]) -> None:
    tell(
        f"{region}: {plain(rules['base_price'])} {rules['currency']} a kWh; hysteresis {plain(rules['hysteresis'])}"
        f" points, of {plain(rules['coverage'])} % coverage on."
    )
    tiers = table("tiers", "tier", "from", "factor", "price")
    for number, factor in enumerate(rules["factors"]):
        begin = "-" if number == 0 else f"{plain(rules['thresholds'][number - 1])} %"
        tiers.add_row(str(number), begin, plain(factor), plain(rules["base_price"] * factor))
    prices = table("prices", "from", "to", "price", "by", "load")
    for one in spans:
        load = "-" if one["load_percent"] is None else f"{one['load_percent']:.1f} %"
        prices.add_row(written(one["from"]), _end(one["to"]), plain(one["price"]), one["reason"], load)
    show_parts(tiers, prices)


def _end(at: datetime | None) -> str:
    return "-" if at is None else written(at)
