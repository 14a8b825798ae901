"""Made-up documents and intervals, of every kind that the document has."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
_PRICE = st.decimals("0", "2", places=4)
_SIGNED = st.decimals("-1", "2", places=4)
_WH = st.integers(0, 20_000)


def _rising(least: int, most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(least, most), max_size=2, unique=True).map(sorted)


@st.composite
def energy_periods(draw: Any, *, sell: bool, price: Any = _PRICE) -> list[list[dict[str, Any]]]:
    periods = []
    for _ in range(draw(st.integers(1, 3))):
        unit = draw(st.sampled_from(["kWh", "kWh daily"]))
        ends = [*draw(_rising(1, 200 if unit == "kWh" else 20)), None]
        tiers: list[dict[str, Any]] = []
        for end in ends:
            tier = {"unit": unit, "rate": str(draw(price)), "adj": str(draw(price))}
            tiers.append(tier | ({} if end is None else {"max": end}) | ({"sell": str(draw(price))} if sell else {}))
        periods.append(tiers)
    return periods


@st.composite
def _demand_periods(draw: Any) -> list[list[dict[str, Any]]]:
    return [
        [{"rate": str(draw(_PRICE))} | ({} if end is None else {"max": end}) for end in [*draw(_rising(1, 30)), None]]
        for _ in range(draw(st.integers(1, 2)))
    ]


def _schedule(periods: int) -> st.SearchStrategy[list[list[int]]]:
    """Of each month, one hour at which one period takes over from another."""
    number = st.integers(0, periods - 1)
    month = st.tuples(number, number, st.integers(0, 23)).map(lambda m: [m[0]] * m[2] + [m[1]] * (24 - m[2]))
    return st.lists(month, min_size=12, max_size=12)


def _maybe(strategy: Any) -> Any:
    return st.one_of(st.none(), strategy)


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    """Documents as people write them, with all that they may leave out left out now and then."""
    rule = draw(_maybe(st.sampled_from(["net_billing", "buy_all_sell_all", "net_metering"])))
    energy = draw(energy_periods(sell=rule != "net_metering" and draw(st.booleans())))
    zone = draw(st.sampled_from(ZONES))
    found: dict[str, Any] = {
        "currency": draw(st.sampled_from(["EUR", "JPY", "KWD"])),
        "timezone": zone,
        "interval_s": draw(st.sampled_from([300, 900, 1800] if zone[0] == "A" else [300, 900, 1800, 3600])),
        "energyratestructure": energy,
        "energyweekdayschedule": draw(_schedule(len(energy))),
        "energyweekendschedule": draw(_schedule(len(energy))),
        "holidays": draw(
            st.lists(
                st.dates(datetime(2026, 1, 1).date(), datetime(2026, 12, 31).date()).map(str), max_size=5, unique=True
            )
        ),
        "demand_holidays": draw(st.booleans()),
        "tier_allocation": "prorata"
        if rule == "net_metering"
        else draw(_maybe(st.sampled_from(["chronological", "prorata"]))),
        "tier_basis": draw(st.sampled_from(["graduated", "volume"])),
        "proration": draw(st.sampled_from(["days", "none"])),
        "rounding": draw(st.sampled_from(["invoice", "none"])),
        "price_series": rule != "net_metering" and draw(st.booleans()),
    }
    if rule is not None:
        found["metering"] = {"rule": rule}
        if rule == "net_metering":
            found["metering"] |= {"credit_month": draw(st.integers(1, 12)), "yearend_sell_rate": str(draw(_PRICE))}
    if draw(st.booleans()):
        flat = draw(_demand_periods())
        found |= {
            "flatdemandstructure": flat,
            "flatdemandmonths": draw(st.lists(st.integers(0, len(flat) - 1), min_size=12, max_size=12)),
        }
    if draw(st.booleans()):
        tou = draw(_demand_periods())
        found |= {
            "demandratestructure": tou,
            "demandweekdayschedule": draw(_schedule(len(tou))),
            "demandweekendschedule": draw(_schedule(len(tou))),
        }
    if draw(st.booleans()):
        found |= {"lookbackpercent": "0.8", "lookbackrange": draw(st.integers(1, 12))}
        found["lookbackmonths"] = draw(_maybe(st.lists(st.sampled_from([0, 1]), min_size=12, max_size=12).filter(any)))
        found["prior_year_monthly_peaks_kw"] = draw(_maybe(st.lists(st.integers(0, 40), min_size=12, max_size=12)))
    unit = st.sampled_from(["$/day", "EUR/month", "/year"])
    if draw(st.booleans()):
        found |= {"fixedchargefirstmeter": str(draw(_SIGNED)), "fixedchargeunits": draw(unit)}
    if draw(st.booleans()):
        found |= {"mincharge": str(draw(_PRICE) * 50), "minchargeunits": draw(unit)}
    if draw(st.booleans()):
        found["baseline"] = {
            "kwh_per_day": draw(st.lists(st.integers(0, 9), min_size=12, max_size=12)),
            "credit_per_kwh": str(draw(_PRICE)),
        }
    if draw(st.booleans()):
        found["power_factor"] = [
            {"above": "0.95", "percent_per_0_01": "-0.5"},
            {"above": "0.90", "below": "0.95", "percent_per_0_01": "0.5"},
            {"below": "0.90", "percent_per_0_01": "1"},
        ]
    if draw(st.booleans()):
        bases = st.lists(
            st.sampled_from(["energy", "demand", "fixed", "minimum", "baseline", "export"]), min_size=1, unique=True
        )
        found["taxes"] = [
            {"name": "levy", "percent": "2.5", "on": draw(st.one_of(bases, st.just("all")))},
            {"name": "vat", "percent": "19", "on": draw(st.one_of(st.just("all"), st.just(["levy", "all"]), bases))},
        ]
    return {key: value for key, value in found.items() if value is not None}


@st.composite
def intervals(draw: Any, document: dict[str, Any], *, most: int = 60) -> list[dict[str, Any]]:
    """Rows in order of time with all columns; now and then a day, a month or a night of changing clocks apart."""
    zone, length = ZoneInfo(document["timezone"]), timedelta(seconds=document["interval_s"])
    near = draw(
        st.sampled_from([(2026, 3, 28), (2026, 10, 24), (2026, 1, 31), (2026, 12, 30), (2026, 4, 4), (2026, 11, 1)])
    )
    at = datetime(*near, draw(st.integers(0, 23)), tzinfo=zone).astimezone(UTC)
    rows = []
    for _ in range(draw(st.integers(1, most))):
        rows.append(
            {
                "at": at,
                "import_wh": draw(_WH),
                "export_wh": draw(_WH),
                "gross_load_wh": draw(_WH),
                "pv_gen_wh": draw(_WH),
                "import_varh": draw(_WH),
                "buy_per_kwh": draw(_SIGNED),
                "sell_per_kwh": draw(_SIGNED),
            }
        )
        at += length * draw(st.sampled_from([1, 1, 1, 1, 7])) + timedelta(
            days=draw(st.sampled_from([0] * 9 + [1, 9, 40]))
        )
    return rows


def text(number: Decimal | int) -> str:
    return f"{number:f}" if isinstance(number, Decimal) else str(number)
