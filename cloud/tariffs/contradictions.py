"""What of a document does not fit together, although each key by itself is sound."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from cloud.tariffs.amount import plain
from cloud.tariffs.currency import CURRENCIES
from cloud.tariffs.document import PARTS, Band, DemandTier, Document, EnergyTier
from cloud.tariffs.problem import Problem, shown

ENDLESS = Decimal("1e30")
"""From here on the end of a tier is none."""
_TIER_PLACES = 6
_Tiers = Sequence[EnergyTier] | Sequence[DemandTier]


def contradictions(document: Document) -> Iterator[Problem]:
    """All of them, in the order of the keys."""
    yield from _frame(document)
    yield from _energy(document)
    yield from _demand(document)
    yield from _ratchet(document)
    yield from _charges(document)
    yield from _metering(document)
    yield from _bands(document.power_factor)
    yield from _taxes(document)


def _frame(document: Document) -> Iterator[Problem]:
    if document.currency not in CURRENCIES:
        yield Problem("currency", f"{shown(document.currency)}; give an ISO 4217 code such as EUR")
    try:
        ZoneInfo(document.timezone)
    except (KeyError, ValueError, OSError):
        yield Problem("timezone", f"{shown(document.timezone)}; give the name of an IANA zone: Europe/Berlin, or UTC")
    if 86400 % document.interval_s:
        yield Problem("interval_s", f"{document.interval_s}; a day has to be whole intervals: give a divisor of 86400")
    for n, day in enumerate(document.holidays):
        if day in document.holidays[:n]:
            yield Problem(f"holidays[{n}]", f"{day} is there twice; take one out")


def _energy(document: Document) -> Iterator[Problem]:
    periods = document.energyratestructure
    if document.price_series and document.regional_price:
        yield Problem("regional_price", "price_series brings prices too; leave one out")
    if periods is None and not document.price_series and not document.regional_price:
        yield Problem("energyratestructure", "is missing; give it, price_series or regional_price")
    for p, tiers in enumerate(periods or ()):
        yield from _tiers(f"energyratestructure[{p}]", tiers)
        if len({tier.unit for tier in tiers}) > 1:
            yield Problem(f"energyratestructure[{p}]", "its tiers have several units; give all the same")
    yield from _schedules(document, "energy", len(periods) if periods else None)


def _demand(document: Document) -> Iterator[Problem]:
    flat, tou = document.flatdemandstructure, document.demandratestructure
    for key, structure in (("flatdemandstructure", flat), ("demandratestructure", tou)):
        for p, tiers in enumerate(structure or ()):
            yield from _tiers(f"{key}[{p}]", tiers)
    months = document.flatdemandmonths
    if flat is None and months is not None:
        yield Problem("flatdemandmonths", "there is no flatdemandstructure; give both or neither")
    if flat is not None and months is None and len(flat) > 1:
        yield Problem("flatdemandmonths", f"is missing; flatdemandstructure has {len(flat)} periods: say when each is")
    for m, period in enumerate(months or ()):
        if flat is not None and not 0 <= period < len(flat):
            yield Problem(f"flatdemandmonths[{m}]", _no_period(period, "flatdemandstructure", len(flat)))
    yield from _schedules(document, "demand", len(tou) if tou else None)


def _no_period(period: int, structure: str, periods: int) -> str:
    return f"{period} is no period of {structure}; give 0 to {periods - 1}"


def _schedules(document: Document, kind: str, periods: int | None) -> Iterator[Problem]:
    structure = f"{kind}ratestructure"
    given = [days for days in ("weekday", "weekend") if getattr(document, f"{kind}{days}schedule") is not None]
    for days in ("weekday", "weekend"):
        key = f"{kind}{days}schedule"
        schedule = getattr(document, key)
        if schedule is None:
            if periods is not None and periods > 1:
                yield Problem(key, f"is missing; {structure} has {periods} periods: say when each is")
            elif given and periods is not None:
                yield Problem(key, f"is missing; {kind}{given[0]}schedule is there: give both or neither")
        elif periods is None:
            yield Problem(key, f"there is no {structure}; give both or neither")
        else:
            for m, hours in enumerate(schedule):
                for h, period in enumerate(hours):
                    if period >= periods:
                        yield Problem(f"{key}[{m}][{h}]", _no_period(period, structure, periods))


def _tiers(path: str, tiers: _Tiers) -> Iterator[Problem]:
    ends = [None if tier.max is None or tier.max >= ENDLESS else tier.max for tier in tiers]
    for t, end in enumerate(ends[:-1]):
        if end is None:
            yield Problem(f"{path}[{t}].max", "is missing; only the last tier has no end")
    if ends[-1] is not None:
        last = f"{path}[{len(ends) - 1}].max"
        yield Problem(last, f"{plain(ends[-1])} leaves what is above without a price; leave max out of the last tier")
    for t, end in enumerate(ends):
        if end is None:
            continue
        if end <= 0:
            yield Problem(f"{path}[{t}].max", f"{plain(end)}; give a number above 0")
        elif end >= 10**12 or len(plain(end).partition(".")[2]) > _TIER_PLACES:
            yield Problem(f"{path}[{t}].max", f"{shown(end)}; give less than 10^12, with at most 6 decimal places")
    for t, (before, end) in enumerate(pairwise(ends), start=1):
        if before is not None and end is not None and end <= before:
            yield Problem(
                f"{path}[{t}].max", f"{plain(end)} is not above {plain(before)} of the tier before; give ends that rise"
            )


def _ratchet(document: Document) -> Iterator[Problem]:
    percent, span, months = document.lookbackpercent, document.lookbackrange, document.lookbackmonths
    if percent is not None and percent > 100:
        yield Problem("lookbackpercent", f"{plain(percent)}; give at most 100, or a share: 0.8 is 80 %")
    if percent is None:
        for key in ("lookbackrange", "lookbackmonths", "prior_year_monthly_peaks_kw"):
            if getattr(document, key):
                yield Problem(key, "there is no lookbackpercent; give both or neither")
    elif percent > 0 and not span and not any(months or ()):
        yield Problem("lookbackrange", "is missing; say how many months lookbackpercent looks back, or lookbackmonths")


def _charges(document: Document) -> Iterator[Problem]:
    for amount, units in (("fixedchargefirstmeter", "fixedchargeunits"), ("mincharge", "minchargeunits")):
        if getattr(document, amount) is not None and getattr(document, units) is None:
            yield Problem(units, f"is missing; say what {amount} is per: {document.currency}/month, /day or /year")
        if getattr(document, amount) is None and getattr(document, units) is not None:
            yield Problem(amount, f"is missing; {units} is there: give both or neither")


def _metering(document: Document) -> Iterator[Problem]:
    metering = document.metering
    if metering is None:
        return
    netted = metering.rule == "net_metering"
    for key in ("credit_month", "yearend_sell_rate"):
        if not netted and getattr(metering, key) is not None:
            yield Problem(f"metering.{key}", f"{metering.rule} has no year's end; leave it out")
    for key in ("price_series", "regional_price"):
        if netted and getattr(document, key):
            yield Problem(key, "what net_metering nets over a month has no price of an interval; leave one out")
    periods = document.energyratestructure or []
    if netted and document.tier_allocation == "chronological" and len(periods) > 1 and any(len(p) > 1 for p in periods):
        yield Problem(
            "tier_allocation", "chronological; net_metering prices the month's rest of each period: give prorata"
        )
    if netted:
        for p, tiers in enumerate(periods):
            for t, tier in enumerate(tiers):
                if tier.sell is not None:
                    yield Problem(
                        f"energyratestructure[{p}][{t}].sell", "net_metering banks what is exported; leave it out"
                    )


def _bands(bands: Sequence[Band]) -> Iterator[Problem]:
    spans = []
    for n, band in enumerate(bands):
        if band.below is None and band.above is None:
            yield Problem(f"power_factor[{n}]", "has neither below nor above; give one or both")
        low, high = band.above or Decimal(0), Decimal(1) if band.below is None else band.below
        if low >= high:
            yield Problem(f"power_factor[{n}].above", f"{plain(low)} is not less than below, {plain(high)}; swap them")
        spans.append((low, high, n))
    for (_, high, first), (low, _, second) in pairwise(sorted(spans)):
        if low < high:
            yield Problem(f"power_factor[{second}]", f"overlaps power_factor[{first}]; give bands that touch at most")


def _taxes(document: Document) -> Iterator[Problem]:
    earlier: list[str] = []
    for n, tax in enumerate(document.taxes):
        if tax.name in (*PARTS, *earlier, "all"):
            yield Problem(f"taxes[{n}].name", f"{shown(tax.name)} is something else's name; give another")
        if tax.percent < -100 or tax.percent > 1000:
            yield Problem(f"taxes[{n}].percent", f"{plain(tax.percent)}; give -100 to 1000: 19 is 19 %")
        for k, base in enumerate(tax.on):
            if base not in (*PARTS, *earlier, "all"):
                there = ", ".join((*PARTS, *earlier, "all"))
                yield Problem(f"taxes[{n}].on[{k}]", f"{shown(base)} is nothing that comes before it; give of: {there}")
            if base in tax.on[:k]:
                yield Problem(f"taxes[{n}].on[{k}]", f"{shown(base)} is there twice; take one out")
        earlier.append(tax.name)
