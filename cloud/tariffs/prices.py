"""`segs-cloud tariff prices`: prices that a tariff has for each interval, from CSV."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.command import tell
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.operator import domain_transaction, rows
from cloud.table_file import RowError, instant
from cloud.table_file import rows as lines_of
from cloud.tariffs.amount import price_of

_QUERIES = Queries("tariff")
_TIME, _BUY, _SELL = "interval_start_utc", "buy_per_kwh", "sell_per_kwh"


def put_in(
    code: Annotated[str, typer.Argument(help="Code of a tariff whose document says price_series.")],
    file: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, readable=True, help=f"CSV with {_TIME},{_BUY} and, where it is paid, {_SELL}."
        ),
    ],
) -> None:
    """Prices of intervals, by which bills are made. What is there already stays; another price for it is refused."""
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        found = list(_parsed(lines))
    with domain_transaction() as domain:
        told = {"code": code, "prices": json.dumps(found), "now": datetime.now(UTC)}
        [done] = rows(domain, _QUERIES["prices"], told)
    tell(f"{code}: {done['added']} prices are new, {done['known']} were there.")


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Raises RowError."""
    seen: dict[datetime, int] = {}
    for row, fields in lines_of(lines, needed=(_TIME, _BUY), wanted=[_SELL], because={}):
        at = instant(fields[_TIME], _TIME, row)
        if seen.setdefault(at, row) != row:
            raise RowError(row, f"{_TIME} {written(at)} is in row {seen[at]} too", "take one of them out")
        yield {"at": written(at), **{name: _number(fields.get(name), name, row) for name in (_BUY, _SELL)}}
    if not seen:
        raise RowError(2, "there is no price", "give at least one")


def _number(text: str | None, column: str, row: int) -> str | None:
    if text is None:
        return None
    try:
        found: Decimal = price_of(text)
    except ValueError as error:
        raise RowError(row, f"{column} {text[:40]!r}", str(error)) from None
    return str(found)
