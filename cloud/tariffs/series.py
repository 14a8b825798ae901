"""Intervals of one metering point, from CSV, as far as a tariff needs them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from cloud.command import LARGEST_WH
from cloud.instant import microseconds, written
from cloud.table_file import RowError, instant, rows
from cloud.tariffs.document import Document

_TIME = "interval_start_utc"
_ENERGY = ("import_wh", "export_wh", "gross_load_wh", "pv_gen_wh", "import_varh")
_PRICES = ("buy_per_kwh", "sell_per_kwh")
COLUMNS = (*_ENERGY, *_PRICES)
"""The columns besides the time, in the order of an interval's values."""
_NUMBER = re.compile(r"-?\d{1,14}(\.\d{1,12})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy in Wh and varh, prices per kWh, in the order of COLUMNS; None for a column that is not there."""

    at: datetime
    values: tuple[Decimal | None, ...]
    row: int


@dataclass(frozen=True, slots=True)
class Series:
    """Intervals in order of time, none twice. `missing` says where some are absent in between."""

    intervals: Sequence[Interval]
    missing: Sequence[str]


def parse(lines: Iterable[str], document: Document) -> Series:
    """The intervals in `lines`, in whatever order they are there. Raises RowError, which names row and column."""
    because = _needed(document)
    needed = (_TIME, "import_wh", *because)
    found: dict[datetime, Interval] = {}
    for row, fields in rows(
        lines, needed=needed, wanted=[name for name in COLUMNS if name not in needed], because=because
    ):
        one = _interval(fields, row, document)
        known = found.setdefault(one.at, one)
        if known is not one:
            raise RowError(
                row, f"{_TIME} {written(one.at)} is in row {known.row} too", "an interval is there once: take one out"
            )
    if not found:
        raise RowError(2, "there is no interval", "give at least one")
    ordered = [found[at] for at in sorted(found)]
    return Series(ordered, list(_gaps(ordered, timedelta(seconds=document.interval_s))))


def _needed(document: Document) -> dict[str, str]:
    """Columns besides import_wh, each with the key of the tariff that needs it."""
    rule = document.metering.rule if document.metering else None
    metering = f"metering.rule {rule}"
    return {
        **({"export_wh": metering} if rule in ("net_billing", "net_metering") else {}),
        **({"gross_load_wh": metering, "pv_gen_wh": metering} if rule == "buy_all_sell_all" else {}),
        **({"import_varh": "power_factor"} if document.power_factor else {}),
        **({"buy_per_kwh": "price_series"} if document.price_series else {}),
        **({"buy_per_kwh": "regional_price"} if document.regional_price else {}),
        **({"sell_per_kwh": "price_series"} if document.price_series and rule is not None else {}),
    }


def _interval(fields: Mapping[str, str], row: int, document: Document) -> Interval:
    at = instant(fields[_TIME], _TIME, row)
    if microseconds(at) % (document.interval_s * 1_000_000):
        raise RowError(
            row,
            f"{_TIME} {fields[_TIME]!r} begins no interval of {document.interval_s} s",
            "give starts in whole intervals from 00:00 UTC, or the tariff's interval_s",
        )
    return Interval(at, tuple(_number(fields.get(name), name, row) for name in COLUMNS), row)


def _number(text: str | None, column: str, row: int) -> Decimal | None:
    if text is None:
        return None
    energy = column in _ENERGY
    if not _NUMBER.fullmatch(text) or (energy and not 0 <= Decimal(text) <= LARGEST_WH):
        unit = "varh" if column == "import_varh" else "Wh"
        todo = f"{unit}, 0 to {LARGEST_WH}" if energy else "a price per kWh, as 0.25"
        raise RowError(row, f"{column} {text[:40]!r}", f"give {todo}")
    return Decimal(text)


def _gaps(intervals: Sequence[Interval], length: timedelta) -> Iterable[str]:
    for before, after in pairwise(intervals):
        missing = (after.at - before.at) // length - 1
        if missing:
            what = "interval is" if missing == 1 else "intervals are"
            yield f"{missing} {what} missing from {written(before.at + length)} to {written(after.at)}"
