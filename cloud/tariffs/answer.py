"""Bills as a JSON document and as a table."""

from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table

from cloud.command import table
from cloud.printable import printable
from cloud.tariffs.amount import plain
from cloud.tariffs.rate import Month, Rated

_QUANTITIES = ("import_kwh", "export_kwh", "peak_kw", "billing_demand_kw")
_AMOUNTS = ("energy", "baseline", "demand_flat", "demand_tou", "fixed", "export_credit", "minimum_topup")
# Shares of tiers and days never end; this many decimal places of them are written.
_PLACES = 12
_EXACT = Context(prec=100, rounding=ROUND_HALF_UP)


def answer(rated: Rated) -> dict[str, Any]:
    """Quantities and amounts as decimal texts, amounts with at least the currency's decimal places."""
    return {
        "currency": rated.currency,
        "months": [_month(month, rated.digits) for month in rated.months],
        "annual_bill": _amount(rated.annual_bill, rated.digits),
    }


def _month(month: Month, digits: int) -> dict[str, Any]:
    numbers = month.numbers
    return {
        "month": month.month,
        **{name: plain(_cut(numbers[name])) for name in _QUANTITIES},
        **{name: _amount(numbers[name], digits) for name in _AMOUNTS},
        "taxes": {name: _amount(amount, digits) for name, amount in month.taxes.items()},
        "bill": _amount(numbers["bill"], digits),
        "bill_unrounded": _amount(numbers["bill_unrounded"], digits),
    }


def _cut(number: Decimal, places: int = _PLACES) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), context=_EXACT)


def _amount(number: Decimal, digits: int) -> str:
    text = plain(_cut(number))
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(digits, '0')}" if digits or fraction else whole


def shown(rated: Rated) -> Table:
    """A row a month, rounded to what people pay with; columns in which nothing is are left out."""
    rows = [_row(month) for month in rated.months]
    total = {"month": "all", **{name: sum(row[name] for row in rows) for name in rows[0] if name != "month"}}
    names = [name for name in rows[0] if name in ("month", "kWh", "bill") or any(row[name] for row in rows)]
    made = table(f"{len(rows)} months, {rated.currency}", *(escape(printable(name)) for name in names))
    for row in rows:
        made.add_row(*(_cell(row, name, rated.digits) for name in names))
    made.add_row(*("" if name.endswith(" kW") else _cell(total, name, rated.digits) for name in names))
    return made


def _row(month: Month) -> dict[str, Any]:
    numbers = month.numbers
    return {
        "month": month.month,
        "kWh": numbers["import_kwh"],
        "exported kWh": numbers["export_kwh"],
        "peak kW": numbers["peak_kw"],
        "demand kW": numbers["billing_demand_kw"],
        **{name.replace("_", " "): numbers[name] for name in _AMOUNTS},
        **month.taxes,
        "bill": numbers["bill"],
    }


def _cell(row: dict[str, Any], name: str, digits: int) -> str:
    if name == "month":
        return str(row[name])
    return f"{_cut(row[name], 3 if name.endswith(('kWh', ' kW')) else digits):f}"
