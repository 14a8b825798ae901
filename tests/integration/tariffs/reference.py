"""A bill the slow way: interval by interval, in fractions, straight from the document as it was written."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Document = dict[str, Any]
PARTS = ("energy", "baseline", "demand_flat", "demand_tou", "fixed", "export_credit", "minimum_topup")
_PART_OF_BASE = {
    "energy": ("energy",),
    "demand": ("demand_flat", "demand_tou"),
    "fixed": ("fixed",),
    "minimum": ("minimum_topup",),
    "baseline": ("baseline",),
    "export": ("export_credit",),
}


@dataclass
class Bill:
    """Unrounded amounts of one month."""

    import_kwh: Fraction = Fraction(0)
    export_kwh: Fraction = Fraction(0)
    peak_kw: Fraction = Fraction(0)
    billing_demand_kw: Fraction = Fraction(0)
    parts: dict[str, Fraction] = field(default_factory=lambda: dict.fromkeys(PARTS, Fraction(0)))
    taxes: dict[str, Fraction] = field(default_factory=dict)

    @property
    def total(self) -> Fraction:
        return sum(self.parts.values(), Fraction(0)) + sum(self.taxes.values(), Fraction(0))


def _f(value: Any) -> Fraction:
    return Fraction(str(value))


class _Month:
    def __init__(self, document: Document, month: date, days_billed: int) -> None:
        following = (month + timedelta(days=32)).replace(day=1)
        self.days = (following - month).days
        self.counted = days_billed if document.get("proration") == "days" else self.days
        self.index = month.month - 1
        self.rows: list[tuple[Row, int, int | None]] = []

    @property
    def share(self) -> Fraction:
        return Fraction(self.counted, self.days)

    def per(self, amount: Any, unit: str) -> Fraction:
        return _f(amount) * {"day": Fraction(self.counted), "month": self.share, "year": self.share / 12}[unit]


def bills(document: Document, rows: list[Row]) -> dict[str, Bill]:
    """`rows` have `at` and the columns of the CSV as ints or texts; in order of time."""
    zone = ZoneInfo(document["timezone"])
    local = [row["at"].astimezone(zone) for row in rows]
    first, last = local[0].date(), local[-1].date()
    months: dict[date, _Month] = {}
    month = first.replace(day=1)
    while month <= last:
        following = (month + timedelta(days=32)).replace(day=1)
        billed = (min(last + timedelta(days=1), following) - max(first, month)).days
        months[month] = _Month(document, month, billed)
        month = following
    for row, at in zip(rows, local, strict=True):
        holiday = at.date().isoformat() in document.get("holidays", [])
        energy = _period(document, "energy", at, holiday)
        assert energy is not None
        demand = _period(document, "demand", at, holiday and document.get("demand_holidays", False))
        months[at.date().replace(day=1)].rows.append((row, energy, demand))
    found: dict[str, Bill] = {}
    banks: dict[int | None, Fraction] = defaultdict(Fraction)
    peaks = [_f(kw) for kw in document.get("prior_year_monthly_peaks_kw", [])]
    peak_months = [(next(iter(months)).month - 1 - len(peaks) + n) % 12 for n in range(len(peaks))]
    for start, month_ in months.items():
        bill = _bill(document, month_, banks, peaks, peak_months)
        peaks.append(bill.peak_kw)
        peak_months.append(month_.index)
        found[f"{start:%Y-%m}"] = bill
    return found


def _period(document: Document, kind: str, at: datetime, holiday: bool) -> int | None:
    structure = document.get(f"{kind}ratestructure")
    schedule = document.get(f"{kind}{'weekend' if at.weekday() >= 5 or holiday else 'weekday'}schedule")
    if structure is None and kind == "demand":
        return None
    return 0 if schedule is None else int(schedule[at.month - 1][at.hour])


def _bill(
    document: Document, month: _Month, banks: dict[int | None, Fraction], peaks: list[Fraction], peak_months: list[int]
) -> Bill:
    bill = Bill()
    rule = document.get("metering", {}).get("rule", "net_billing")
    bought, sold = ("gross_load_wh", "pv_gen_wh") if rule == "buy_all_sell_all" else ("import_wh", "export_wh")
    buying = [(_f(row[bought]) / 1000, period, row) for row, period, _ in month.rows]
    selling = [(_f(row.get(sold, 0)) / 1000, period, row) for row, period, _ in month.rows]
    bill.import_kwh = sum((_f(row["import_wh"]) / 1000 for row, _, _ in month.rows), Fraction(0))
    bill.export_kwh = sum((_f(row.get("export_wh", 0)) / 1000 for row, _, _ in month.rows), Fraction(0))
    structure = document.get("energyratestructure", [[{"rate": 0}]])
    if rule == "net_metering":
        buying = _netted(document, month, buying, selling, banks, bill, len(structure))
        selling = []
    bill.parts["energy"] += _energy(document, month, structure, buying, sell=False)
    bill.parts["export_credit"] -= _energy(document, month, structure, selling, sell=True)
    if document.get("price_series"):
        bill.parts["energy"] += sum((kwh * _f(row["buy_per_kwh"]) for kwh, _, row in buying), Fraction(0))
        bill.parts["export_credit"] -= sum((kwh * _f(row["sell_per_kwh"]) for kwh, _, row in selling), Fraction(0))
    bill.parts["energy"] *= 1 + _power_factor_percent(document, month) / 100
    _demand(document, month, bill, bought, peaks, peak_months)
    if document.get("fixedchargefirstmeter") is not None:
        bill.parts["fixed"] = month.per(document["fixedchargefirstmeter"], document["fixedchargeunits"].split("/")[1])
    if "baseline" in document:
        allowed = _f(document["baseline"]["kwh_per_day"][month.index]) * month.counted
        energy = sum((kwh for kwh, _, _ in buying), Fraction(0))
        bill.parts["baseline"] = -min(energy, allowed) * _f(document["baseline"]["credit_per_kwh"])
    if document.get("mincharge") is not None:
        minimum = month.per(document["mincharge"], document["minchargeunits"].split("/")[1])
        charged = sum(bill.parts[part] for part in ("energy", "demand_flat", "demand_tou", "fixed"))
        bill.parts["minimum_topup"] = max(Fraction(0), minimum - charged)
    for tax in document.get("taxes", []):
        on = [tax["on"]] if isinstance(tax["on"], str) else tax["on"]
        names = [name for base in on for name in (_PART_OF_BASE if base == "all" else [base])]
        bases = [
            bill.taxes[name] if name in bill.taxes else sum(bill.parts[part] for part in _PART_OF_BASE[name])
            for name in names
        ]
        bill.taxes[tax["name"]] = sum(bases, Fraction(0)) * _f(tax["percent"]) / 100
    return bill


def _power_factor_percent(document: Document, month: _Month) -> Fraction:
    wh, varh = (sum(_f(row.get(name, 0)) for row, _, _ in month.rows) for name in ("import_wh", "import_varh"))
    if not document.get("power_factor") or not wh:
        return Fraction(0)
    # Two decimals, half up, without a root: the largest n with (n - 0.5) / 100 <= wh / sqrt(wh^2 + varh^2).
    square = wh * wh / (wh * wh + varh * varh)
    factor = Fraction(max(n for n in range(101) if n == 0 or Fraction(2 * n - 1, 200) ** 2 <= square), 100)
    for band in document["power_factor"]:
        low, high = _f(band.get("above", 0)), _f(band.get("below", 2))
        if low <= factor < high:
            steps = 100 * (factor - low if "below" not in band else high - factor)
            return steps * _f(band["percent_per_0_01"])
    return Fraction(0)


_Flow = list[tuple[Fraction, int, Row]]


def _netted(
    document: Document,
    month: _Month,
    buying: _Flow,
    selling: _Flow,
    banks: dict[int | None, Fraction],
    bill: Bill,
    periods: int,
) -> _Flow:
    metering = document["metering"]
    rests: _Flow = []
    for period in range(periods):
        net = sum((k for k, p, _ in buying if p == period), Fraction(0)) - sum(
            (k for k, p, _ in selling if p == period), Fraction(0)
        )
        rest = net - banks[period]
        banks[period] = max(-rest, Fraction(0))
        rests.append((max(rest, Fraction(0)), period, {}))
    banks[None] = max(banks[None] - (bill.import_kwh - bill.export_kwh), Fraction(0))
    if month.index + 1 == metering.get("credit_month", 12):
        bill.parts["export_credit"] -= banks[None] * _f(metering.get("yearend_sell_rate", 0))
        banks.clear()
    return rests


def _energy(document: Document, month: _Month, structure: Any, flow: _Flow, *, sell: bool) -> Fraction:
    total = sum((kwh for kwh, _, _ in flow), Fraction(0))
    chronological = document.get("tier_allocation", "chronological") == "chronological" and flow and flow[0][2]
    cost = before = Fraction(0)
    for kwh, period, _ in flow:
        for low, high, price in _tiers(structure[period], month, sell):
            if document.get("tier_basis") == "volume":
                part = kwh if (low < total or low == 0) and (high is None or total <= high) else Fraction(0)
            elif chronological:
                part = _overlap(before, before + kwh, low, high)
            else:
                part = kwh * _overlap(Fraction(0), total, low, high) / total if total else Fraction(0)
            cost += part * price
        before += kwh
    return cost


def _tiers(tiers: Any, month: _Month, sell: bool) -> list[tuple[Fraction, Fraction | None, Fraction]]:
    found, low = [], Fraction(0)
    for tier in tiers:
        daily = tier.get("unit") == "kWh daily"
        high = None if tier.get("max") is None else _f(tier["max"]) * (month.counted if daily else month.share)
        price = _f(tier.get("sell", 0)) if sell else _f(tier["rate"]) + _f(tier.get("adj", 0))
        found.append((low, high, price))
        low = Fraction(0) if high is None else high
    return found


def _overlap(begin: Fraction, end: Fraction, low: Fraction, high: Fraction | None) -> Fraction:
    return max(Fraction(0), (end if high is None else min(end, high)) - max(begin, low))


def _demand(
    document: Document, month: _Month, bill: Bill, column: str, peaks: list[Fraction], peak_months: list[int]
) -> None:
    seconds = document.get("interval_s", 900)
    window = 900 if 900 % seconds == 0 else seconds
    blocks: dict[tuple[int, int | None], Fraction] = defaultdict(Fraction)
    for row, _, period in month.rows:
        blocks[int(row["at"].timestamp()) // window, period] += _f(row[column])
    by_period: dict[int | None, Fraction] = defaultdict(Fraction)
    for (_, period), wh in blocks.items():
        by_period[period] = max(by_period[period], wh * 3600 / window / 1000)
    bill.peak_kw = bill.billing_demand_kw = max(by_period.values(), default=Fraction(0))
    if document.get("lookbackpercent"):
        back = document.get("lookbackrange") or 12
        looked = document.get("lookbackmonths") or [1] * 12
        seen = [kw for kw, index in list(zip(peaks, peak_months, strict=True))[-back:] if looked[index]]
        bill.billing_demand_kw = max([bill.peak_kw, *(kw * _f(document["lookbackpercent"]) for kw in seen)])
    if "flatdemandstructure" in document:
        period = document.get("flatdemandmonths", [0] * 12)[month.index]
        bill.parts["demand_flat"] = _marginal(document["flatdemandstructure"][period], bill.billing_demand_kw)
    for period, kw in by_period.items():
        if period is not None:
            bill.parts["demand_tou"] += _marginal(document["demandratestructure"][period], kw)


def _marginal(tiers: Any, kw: Fraction) -> Fraction:
    cost, low = Fraction(0), Fraction(0)
    for tier in tiers:
        high = None if tier.get("max") is None else _f(tier["max"])
        cost += _overlap(Fraction(0), kw, low, high) * (_f(tier["rate"]) + _f(tier.get("adj", 0)))
        low = Fraction(0) if high is None else high
    return cost


def half_up(amount: Fraction, digits: int) -> Decimal:
    """Half away from zero, as money is rounded."""
    scaled = abs(amount) * 10**digits
    whole = math.floor(scaled + Fraction(1, 2))
    return Decimal(whole if amount >= 0 else -whole).scaleb(-digits)
