"""A tariff and intervals through the SQL that bills are made by, in a database that is dropped again."""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from cloud.db.queries import Queries
from cloud.instant import written
from cloud.schema.loader import load
from cloud.schema.scratch import mastered
from cloud.table_file import RowError
from cloud.tariffs.document import Document
from cloud.tariffs.normal import settled
from cloud.tariffs.series import Interval, Series

_QUERIES = Queries("rating")


@dataclass(frozen=True, slots=True)
class Month:
    """One month's bill: kWh, kW and amounts by the names of the answer, `taxes` by theirs. Credits are negative."""

    month: str
    numbers: dict[str, Decimal]
    taxes: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Rated:
    """Bills in order of time; `digits` is how many decimal places the currency has."""

    currency: str
    digits: int
    months: list[Month]

    annual_bill: Decimal


def rate(dsn: str, document: Document, series: Series) -> Rated:
    """What `series` costs. `dsn` names the server on which the scratch database is made.

    Raises RowError for an interval that two prices hold in, and SchemaError.
    """
    with mastered(dsn, load("domain")) as connection:
        return rated(connection, document, series)


def rated(connection: psycopg.Connection, document: Document, series: Series) -> Rated:
    """The same in a transaction of a domain database, which keeps nothing of it."""
    connection.execute(_QUERIES["open"])
    connection.execute(_QUERIES["tariff"], {"document": json.dumps(settled(document))})
    with connection.cursor() as cursor, cursor.copy(_QUERIES["intervals"]) as copy:
        for interval in series.intervals:
            copy.write_row((1, interval.at, *_stored(interval)))
    _require_one_price(connection, series)
    connection.execute(_QUERIES["rate"])
    with connection.cursor(row_factory=dict_row) as found:
        months = found.execute(_QUERIES["months"]).fetchall()
        taxes = found.execute(_QUERIES["taxes"]).fetchall()
        [all_] = found.execute(_QUERIES["all"]).fetchall()
    return Rated(document.currency, all_["digits"], [_month(row, taxes, document) for row in months], all_["bill"])


def _stored(interval: Interval) -> tuple[Decimal | None, ...]:
    imported, exported, *others = interval.values
    return imported, Decimal(0) if exported is None else exported, *others


def _require_one_price(connection: psycopg.Connection, series: Series) -> None:
    found = connection.execute(_QUERIES["astride"]).fetchone()
    if found is not None:
        row = next(interval.row for interval in series.intervals if interval.at == found[0])
        raise RowError(
            row,
            f"interval_start_utc {written(found[0])}: in this interval the month or a period of the tariff changes",
            "give shorter intervals, and the tariff their interval_s",
        )


def _month(row: dict[str, Any], taxes: list[dict[str, Any]], document: Document) -> Month:
    here = {tax["name"]: tax["amount"] for tax in taxes if tax["month"] == row["month"]}
    month = row.pop("month")
    return Month(month, row, {tax.name: here.get(tax.name, Decimal(0)) for tax in document.taxes})
