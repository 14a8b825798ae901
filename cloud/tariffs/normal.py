"""The normal form of a document: the same keys, all that it leaves unsaid spelled out, amounts as decimal texts.

This is what SQL reads and what is stored. It is a document itself, and its own normal form.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cloud.tariffs.amount import plain
from cloud.tariffs.contradictions import ENDLESS
from cloud.tariffs.document import PARTS, DemandTier, Document, EnergyTier, Tax

_FREE = [[EnergyTier.model_validate({"rate": "0"})]]
_Structure = Sequence[Sequence[EnergyTier]] | Sequence[Sequence[DemandTier]]


def settled(document: Document) -> dict[str, Any]:
    """What JSON can hold, by the document's keys; without keys that have nothing to say."""
    found: dict[str, Any] = {
        "name": document.name,
        "currency": document.currency,
        "timezone": document.timezone,
        "interval_s": document.interval_s,
        "energyratestructure": _structure(document.energyratestructure or _FREE),
        "energyweekdayschedule": document.energyweekdayschedule or _always(),
        "energyweekendschedule": document.energyweekendschedule or _always(),
        "holidays": [day.isoformat() for day in sorted(document.holidays)],
        "demand_holidays": document.demand_holidays,
        "tier_allocation": document.tier_allocation or _allocation(document),
        "tier_basis": document.tier_basis,
        **_demand(document),
        **_ratchet(document),
        "fixedchargefirstmeter": _text(document.fixedchargefirstmeter),
        "fixedchargeunits": document.fixedchargeunits,
        "mincharge": _text(document.mincharge),
        "minchargeunits": document.minchargeunits,
        "baseline": document.baseline
        and {
            "kwh_per_day": [plain(kwh) for kwh in document.baseline.kwh_per_day],
            "credit_per_kwh": plain(document.baseline.credit_per_kwh),
        },
        "metering": _metering(document),
        "price_series": document.price_series,
        "regional_price": document.regional_price,
        "power_factor": [
            _said(below=_text(band.below), above=_text(band.above), percent_per_0_01=_text(band.percent_per_0_01))
            for band in document.power_factor
        ],
        "taxes": [
            {"name": tax.name, "percent": plain(tax.percent), "on": _bases(tax, document.taxes[:n])}
            for n, tax in enumerate(document.taxes)
        ],
        "proration": document.proration,
        "rounding": document.rounding,
    }
    return _said(**found)


def _said(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _always() -> list[list[int]]:
    return [[0] * 24 for _ in range(12)]


def _structure(periods: _Structure) -> list[list[dict[str, Any]]]:
    return [
        [
            _said(
                max=None if tier.max is None or tier.max >= ENDLESS else plain(tier.max),
                unit=tier.unit,
                rate=plain(tier.rate),
                adj=plain(tier.adj),
                sell=_text(tier.sell) if isinstance(tier, EnergyTier) else None,
            )
            for tier in tiers
        ]
        for tiers in periods
    ]


def _allocation(document: Document) -> str:
    netted = document.metering is not None and document.metering.rule == "net_metering"
    return "prorata" if netted else "chronological"


def _demand(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if document.flatdemandstructure is not None:
        found["flatdemandstructure"] = _structure(document.flatdemandstructure)
        found["flatdemandmonths"] = document.flatdemandmonths or [0] * 12
    if document.demandratestructure is not None:
        found["demandratestructure"] = _structure(document.demandratestructure)
        found["demandweekdayschedule"] = document.demandweekdayschedule or _always()
        found["demandweekendschedule"] = document.demandweekendschedule or _always()
    return found


def _ratchet(document: Document) -> dict[str, Any]:
    percent, months = document.lookbackpercent, document.lookbackmonths
    if not percent:
        return {}
    return _said(
        # A share as URDB has it, or a percentage as the word says: no ratchet is at 1 % or less.
        lookbackpercent=plain(percent if percent <= 1 else percent / 100),
        lookbackrange=document.lookbackrange or 12,
        lookbackmonths=list(months) if months and any(months) else [True] * 12,
        prior_year_monthly_peaks_kw=document.prior_year_monthly_peaks_kw
        and [plain(kw) for kw in document.prior_year_monthly_peaks_kw],
    )


def _metering(document: Document) -> dict[str, Any]:
    metering = document.metering
    if metering is None:
        return {"rule": "net_billing"}
    if metering.rule != "net_metering":
        return {"rule": metering.rule}
    return {
        "rule": metering.rule,
        "credit_month": metering.credit_month or 12,
        "yearend_sell_rate": plain(metering.yearend_sell_rate or Decimal(0)),
    }


def _bases(tax: Tax, before: Sequence[Tax]) -> list[str]:
    """All is all parts of the bill; a tax before it is in the base only by its name."""
    parts = [part for part in PARTS if part in tax.on or "all" in tax.on]
    return [*parts, *(earlier.name for earlier in before if earlier.name in tax.on)]
