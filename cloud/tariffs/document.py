"""The tariff document: URDB's field names where URDB has the field. What must fit together is in contradictions.py."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from cloud.tariffs.amount import Amount, Boundless, NotNegative, Share

PARTS = ("energy", "demand", "fixed", "minimum", "baseline", "export")
"""What a tax can be on, besides the taxes before it."""


def _day(value: object) -> date:
    if isinstance(value, str) and len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("give a day such as 2026-12-25")


def _flag(value: object) -> bool:
    """URDB has both. Raises ValueError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    raise ValueError("give true or false")


Year = Annotated[list[StrictInt], Field(min_length=12, max_length=12)]
Day = Annotated[list[Annotated[StrictInt, Field(ge=0)]], Field(min_length=24, max_length=24)]
Schedule = Annotated[list[Day], Field(min_length=12, max_length=12)]
"""Period numbers, from 0, of 12 months by 24 hours."""
Per = Annotated[
    str, Field(strict=True, pattern=r"^[^/]{0,10}/(day|month|year)$", description="EUR/month: the part after / counts.")
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnergyTier(_Part):
    """Price per kWh up to `max` in `unit` of the month's energy; None for all that is above the tier before."""

    max: Boundless | None = None
    unit: Literal["kWh", "kWh daily"] = "kWh"
    rate: Amount
    adj: Amount = Field(default="0", validate_default=True)
    sell: Amount | None = None


class DemandTier(_Part):
    """Price per kW up to `max` kW of the peak."""

    max: Boundless | None = None
    unit: Literal["kW"] = "kW"
    rate: Amount
    adj: Amount = Field(default="0", validate_default=True)


EnergyPeriods = Annotated[list[Annotated[list[EnergyTier], Field(min_length=1)]], Field(min_length=1, max_length=100)]
DemandPeriods = Annotated[list[Annotated[list[DemandTier], Field(min_length=1)]], Field(min_length=1, max_length=100)]


class Baseline(_Part):
    """Credit on the first `kwh_per_day` x days kWh of the month."""

    kwh_per_day: Annotated[list[NotNegative], Field(min_length=12, max_length=12)]
    credit_per_kwh: Amount


class Metering(_Part):
    """How export is settled; the year's end is net metering's."""

    rule: Literal["net_billing", "buy_all_sell_all", "net_metering"]
    credit_month: Annotated[StrictInt, Field(ge=1, le=12)] | None = None
    yearend_sell_rate: NotNegative | None = None


class Band(_Part):
    """Power factors from `above` to `below`, of which each 0.01 is so many percent of the energy charge."""

    below: Share | None = None
    above: Share | None = None
    percent_per_0_01: Amount


class Tax(_Part):
    """`percent` of what `on` names: parts of the bill, earlier taxes, and `all` is all parts."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    percent: Amount
    on: Annotated[list[StrictStr], BeforeValidator(lambda value: [value] if value == "all" else value)] = Field(
        min_length=1
    )


class Document(_Part):
    """A tariff as it is written. `settled()` of normal.py spells out what it leaves unsaid."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=200)] | None = None
    currency: StrictStr
    timezone: StrictStr
    interval_s: Annotated[StrictInt, Field(ge=1, le=86400)] = 900
    energyratestructure: EnergyPeriods | None = None
    energyweekdayschedule: Schedule | None = None
    energyweekendschedule: Schedule | None = None
    holidays: list[Annotated[date, BeforeValidator(_day)]] = []
    demand_holidays: StrictBool = False
    tier_allocation: Literal["chronological", "prorata"] | None = None
    tier_basis: Literal["graduated", "volume"] = "graduated"
    flatdemandstructure: DemandPeriods | None = None
    flatdemandmonths: Year | None = None
    demandratestructure: DemandPeriods | None = None
    demandweekdayschedule: Schedule | None = None
    demandweekendschedule: Schedule | None = None
    lookbackpercent: NotNegative | None = None
    lookbackrange: Annotated[StrictInt, Field(ge=0, le=12)] | None = None
    lookbackmonths: (
        Annotated[list[Annotated[bool, BeforeValidator(_flag)]], Field(min_length=12, max_length=12)] | None
    ) = None
    prior_year_monthly_peaks_kw: Annotated[list[NotNegative], Field(min_length=12, max_length=12)] | None = None
    fixedchargefirstmeter: Amount | None = None
    fixedchargeunits: Per | None = None
    mincharge: NotNegative | None = None
    minchargeunits: Per | None = None
    baseline: Baseline | None = None
    metering: Metering | None = None
    price_series: StrictBool = False
    regional_price: StrictBool = False
    power_factor: list[Band] = []
    taxes: Annotated[list[Tax], Field(max_length=30)] = []
    proration: Literal["days", "none"] = "none"
    rounding: Literal["line", "invoice", "none"] = "invoice"
