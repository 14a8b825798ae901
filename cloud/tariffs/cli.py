"""`segs-cloud tariff`: what tariffs there are, by which a meter is billed, and what one makes of intervals."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cloud.command import Since, a_day, a_time, group, show_json, span, table, tell
from cloud.command import show as show_parts
from cloud.db.queries import Queries
from cloud.errors import CloudError
from cloud.instant import written
from cloud.operator import domain_transaction, rows
from cloud.printable import printable
from cloud.settings import Settings
from cloud.tariffs import override
from cloud.tariffs.amount import plain
from cloud.tariffs.answer import answer, shown
from cloud.tariffs.load import load
from cloud.tariffs.normal import settled
from cloud.tariffs.prices import put_in
from cloud.tariffs.problem import Problem, TariffError
from cloud.tariffs.rate import rate as rate_series
from cloud.tariffs.regional import regional
from cloud.tariffs.series import COLUMNS, parse

app = group(help="Tariffs: what energy and power cost, and by which a meter is billed.")

app.add_typer(override.app, name="override")
app.command()(regional)
app.command("prices")(put_in)
_QUERIES = Queries("tariff")
Code = Annotated[str, typer.Argument(help="Code of the tariff: lower-case letters, digits, hyphen and underscore.")]
Document = Annotated[Path, typer.Option(exists=True, dir_okay=False, readable=True, help="The tariff, JSON.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


class UnknownTariff(CloudError):
    """Nobody added a tariff of this code, or none that holds at that time."""

    def __init__(self, code: str, when: str = "") -> None:
        super().__init__(f"there is no tariff {code}{when}; segs-cloud tariff list names them, and when they hold")
        self.code = code


@app.command()
def add(
    code: Code,
    tariff: Document,
    region: Annotated[str | None, typer.Option(help="Region that it is offered in; everywhere without one.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    since: Since = None,
) -> None:
    """Add a tariff, or prices that a tariff has from then on. Prices that were there before end then, and stay."""
    now = datetime.now(UTC)
    document = load(tariff)
    if document.name is None:
        raise TariffError(tariff.name, [Problem("name", "is missing; give the tariff's name for people")])
    what = {"code": code, "document": json.dumps(settled(document)), "region": region, "reason": reason}
    with domain_transaction() as domain:
        domain.execute(_QUERIES["add"], {**what, "from": since or now, "now": now})
        found = rows(domain, _QUERIES["tables"], {"code": code})
    tell("\n".join(f"{code}: {printable(one['name'])}, {span(one)}." for one in found))


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Tariffs, each with the prices that hold now, or the first that will, and how many meters it has now."""
    with domain_transaction() as domain:
        found = rows(domain, _QUERIES["list"], {"now": datetime.now(UTC)})
    if as_json:
        show_json(found)
        return
    made = table(f"{len(found)} tariffs", "tariff", "name", "region", "of", "currency", "zone", "holds", "meters")
    for one in found:
        about = (one["code"], escape(printable(one["name"])), one["region"] or "-", one["origin"])
        made.add_row(*about, one["currency"], one["timezone"], span(one), str(one["meters"]))
    show_parts(made)


@app.command()
def show(
    code: Code,
    at: Annotated[
        datetime | None, typer.Option(parser=a_time, metavar="TIME", help="When, 2026-11-27T10:00Z; else now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """A tariff: its price tables, and the one that holds at that time. With --json, that one's document too."""
    when = at or datetime.now(UTC)
    with domain_transaction() as domain:
        tables = rows(domain, _QUERIES["tables"], {"code": code})
        if not tables:
            raise UnknownTariff(code)
        found = rows(domain, _QUERIES["at"], {"code": code, "at": when})
        rates = rows(domain, _QUERIES["rates"], found[0]) if found else []
        holidays = rows(domain, _QUERIES["holidays"], {"code": code})
    if as_json:
        show_json({"code": code, "tables": tables, "holidays": holidays, "at": when, **(found[0] if found else _NONE)})
        return
    spans = table(f"{code}: {len(tables)} price tables", "name", "of", "holds", "reason")
    for one in tables:
        spans.add_row(escape(printable(one["name"])), one["origin"], span(one), escape(printable(one["reason"] or "-")))
    prices = table(f"prices at {written(when)}", "of", "period", "tier", "up to", "price", "sell")
    for one in rates:
        end = "-" if one["tier_max"] is None else f"{plain(one['tier_max'])} {one['unit']}"
        sell = "-" if one["sell"] is None else plain(one["sell"])
        prices.add_row(one["component"], str(one["period"]), str(one["tier"]), end, plain(one["price"]), sell)
    show_parts(spans, prices, *(f"{one['day']} is a holiday: {printable(one['name'])}" for one in holidays))


_NONE = {"tariff_id": None, "document": None}


@app.command()
def holiday(
    code: Code,
    day: Annotated[date, typer.Argument(parser=a_day, metavar="DAY", help="Local day, 2026-12-25.")],
    name: Annotated[str, typer.Option(help="What day it is.")],
) -> None:
    """A day that a tariff prices as a weekend, besides those that its document lists."""
    with domain_transaction() as domain:
        domain.execute(_QUERIES["holiday"], {"code": code, "day": day, "name": name, "now": datetime.now(UTC)})
    tell(f"{code}: {day} is a holiday, {printable(name)}.")


@app.command()
def assign(
    meter: Annotated[str, typer.Argument(help="Code of the meter, MTR-00000001.")],
    code: Annotated[str | None, typer.Argument(help="Code of the tariff; none without one.")] = None,
    since: Since = None,
) -> None:
    """A meter is billed by a tariff from then on. What was billed before stays as it is."""
    now = datetime.now(UTC)
    with domain_transaction() as domain:
        domain.execute(_QUERIES["assign"], {"meter": meter, "code": code, "from": since or now, "now": now})
        found = rows(domain, _QUERIES["assignments"], {"meter": meter})
    tell("\n".join(f"{meter}: tariff {one['code']}, {span(one)}." for one in found) or f"{meter}: no tariff.")


@app.command()
def rate(
    tariff: Document,
    intervals: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help=f"CSV with interval_start_utc,import_wh and, where the tariff needs them, {','.join(COLUMNS[1:])}.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Price intervals of a file by a tariff of a file, by the SQL that bills are made by, and keep nothing."""
    document = load(tariff)
    with intervals.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        series = parse(lines, document)
    rated = rate_series(Settings().domain, document, series)
    if as_json:
        show_json(answer(rated))
    else:
        show_parts(shown(rated))
    for gap in series.missing:
        tell(f"{gap}: nothing is charged for them.")
