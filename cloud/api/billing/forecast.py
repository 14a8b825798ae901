"""What the next bill may be, and what the last year would have cost by other tariffs."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api.access import reach
from cloud.api.billing.forms import Component, Money, Number
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Caller, Databases, Row
from cloud.api.http.envelope import Success, problems
from cloud.api.http.etag import IfNoneMatch, polled, polled_one
from cloud.api.measured.readable import Readable, readable
from cloud.api.registry.meters import Code
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/billing/meters/{code}", tags=["billing"])
_QUERIES = Queries("api_billing")
_AT_ONCE = 8
"""Tariffs by which a year is rated in one statement, none of which may take long."""
_MONTH, _YEAR = timedelta(days=33), timedelta(days=400)
_REASON = (
    "Why not, in short: no_tariff, no_owner, no_place, tariff_zone, no_prices, no_generation, no_reactive; null where "
    "there is."
)
_MONTHS = "Whole months before this one, at most; quarter-hours are kept for a year."


class ExpectedLine(BaseModel):
    """A line of a bill that is not made yet."""

    component: Annotated[Component, Field(description="What is charged.")]
    description: Annotated[str, Field(description="The same for people.", examples=["Energy"])]
    period: Annotated[int | None, Field(description="Number of the price period, from 0.")]
    tier: Annotated[int | None, Field(description="Number of the tier, from 0.")]
    quantity: Annotated[Number, Field(description="How much, a decimal, in unit.")]
    unit: Annotated[str, Field(description="kWh, kW, day, month, percent, bill.", examples=["kWh"])]
    unit_price: Annotated[Number, Field(description="A decimal, in the bill's currency by unit.", examples=["0.31"])]
    amount: Annotated[Money, Field(description="What it adds, in the bill's currency.")]
    estimated: Annotated[bool, Field(description="Whether any of the energy is estimated.")]


class ExpectedBill(BaseModel):
    """A bill as it would be."""

    net_amount: Annotated[Money, Field(description="Without taxes, in the bill's currency.")]
    tax_amount: Annotated[Money, Field(description="Taxes, in the bill's currency.")]
    total_amount: Annotated[Money, Field(description="Both, in the bill's currency.")]
    lines: Annotated[list[ExpectedLine], Field(description="What it is made of.")]


class Unreactive(BaseModel):
    """Quarter-hours whose reactive energy is not known, while the tariff has power factors: no_reactive."""

    model_config = ConfigDict(populate_by_name=True)

    since: Annotated[datetime, Field(alias="from", description="Start of the first one.")]
    until: Annotated[datetime, Field(alias="to", description="End of the last one.")]
    quarters_count: Annotated[int, Field(description="Count of those in between of which it is not known.")]


class Cycle(BaseModel):
    """What the next bill will be over. Corrections of earlier bills are not in it."""

    code: Annotated[str, Field(description="Code of the meter.")]
    first_day: Annotated[date | None, Field(description="The first local day.")]
    end_day: Annotated[date | None, Field(description="The local day after the last.")]
    timezone: Annotated[str | None, Field(description="IANA zone of its days.")]
    currency: Annotated[str | None, Field(description="ISO 4217.")]
    reason: Annotated[str | None, Field(description=_REASON, examples=["no_tariff"])]
    energy_import_wh: Annotated[int | None, Field(description="What was taken so far, Wh.")]
    energy_export_wh: Annotated[int | None, Field(description="What was given so far, Wh.")]
    unreactive: Annotated[
        Unreactive | None, Field(description="Where reactive energy is not known that the tariff needs.")
    ]
    so_far: Annotated[
        ExpectedBill | None, Field(description="If nothing more were taken; fixed charges are of all days.")
    ]
    projection: Annotated[
        ExpectedBill | None, Field(description="If the rest were like what is known of the same price periods.")
    ]


class KnownMonth(BaseModel):
    """A local month, and what is known of it."""

    month: Annotated[str, Field(description="The month.", examples=["2026-10"])]
    missing_count: Annotated[
        int, Field(description="Count of quarter-hours of which nothing is known; then not rated.")
    ]
    unreactive_count: Annotated[
        int,
        Field(
            description="Count of quarter-hours whose reactive energy is not known; then rated by no tariff with power "
            "factors."
        ),
    ]
    energy_import_wh: Annotated[int, Field(description="What was taken, Wh.")]
    energy_export_wh: Annotated[int, Field(description="What was given, Wh.")]


class RatedMonth(BaseModel):
    """A month by a tariff."""

    month: Annotated[str, Field(description="The month.", examples=["2026-10"])]
    total_amount: Annotated[Money, Field(description="What it would have cost with taxes, in the tariff's currency.")]
    peak_kw: Annotated[Number, Field(description="The highest quarter-hour, a decimal, kW.", examples=["4.2"])]


class RatedTariff(BaseModel):
    """A tariff, and what it would have cost."""

    tariff: Annotated[str, Field(description="Its code.", examples=["night"])]
    name: Annotated[str, Field(description="Its name.", examples=["Night and day"])]
    currency: Annotated[str, Field(description="ISO 4217.")]
    yours: Annotated[bool, Field(description="Whether the meter is billed by it now.")]
    reason: Annotated[str | None, Field(description=_REASON, examples=["tariff_zone"])]
    total_amount: Annotated[
        Money | None, Field(description="All rated months, in currency; null where none could be, or not all.")
    ]
    months: Annotated[list[RatedMonth], Field(description="Each of them.")]


class TariffComparison(BaseModel):
    """The same months by one tariff or several, the cheapest first."""

    code: Annotated[str, Field(description="Code of the meter.")]
    timezone: Annotated[str, Field(description="IANA zone of its months.")]
    months: Annotated[list[KnownMonth], Field(description="The months that were asked for.")]
    tariffs: Annotated[list[RatedTariff], Field(description="By their present prices.")]


class Months(BaseModel):
    """How much of the past."""

    model_config = ConfigDict(extra="forbid")

    months: Annotated[int, Field(ge=1, le=12, description=_MONTHS)] = 12


class Another(Months):
    """How much of the past, by which tariff."""

    tariff: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Code of the tariff.", examples=["house"])
    ]


@router.get(
    "/current",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 409, 422),
    response_model=Success[Cycle],
)
async def current(code: Code, given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre) -> Response:
    """What the meter's next bill is so far, and what it may become."""
    meter = await readable(databases, caller, code, "billing", (caller.now - _MONTH, caller.now))
    named = {"code": code, "now": caller.now}
    async with databases.domain(caller) as domain:
        cycle = await domain.row(_QUERIES["cycle"], named)
        assert cycle is not None
        plan = await domain.rows(_QUERIES["cycle_plan"], named)
    taken: Mapping[str, Any] = {"energy_import_wh": None, "energy_export_wh": None}
    bills: dict[str, ExpectedBill | None] = {"so_far": None, "projection": None}
    unreactive = None
    if cycle["reason"] is None:
        taken = await _energy(databases, meter, plan, placed=True)
        asked = {**named, "energy": taken["energy"], "currency": cycle["currency"]}
        async with databases.domain(caller) as domain:
            unreactive = await domain.row(_QUERIES["cycle_unreactive"], asked)
            if unreactive is not None:
                cycle["reason"] = "no_reactive"
            for name in bills if unreactive is None else ():
                projected = {"projected": name == "projection"}
                bill = await domain.row(_QUERIES["cycle_rate"], {**asked, **projected})
                bills[name] = ExpectedBill.model_validate(bill)
    found = Cycle.model_validate({**cycle, **taken, **bills, "unreactive": unreactive, "code": code})
    return polled_one(given, Success(message="The next bill.", data=found), found)


@router.get("/what-if", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422))
async def what_if(
    code: Code, asked: Annotated[Another, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[TariffComparison]:
    """What the last year of the meter would have cost by another tariff, at its present prices."""
    found = await _compared(databases, caller, code, asked.months, [asked.tariff])
    return Success(message="By another tariff.", data=found)


@router.get("/tariffs", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422))
async def compared(
    code: Code, asked: Annotated[Months, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[TariffComparison]:
    """What the last year of the meter would have cost by each tariff of its region, the cheapest first."""
    return Success(message="By each tariff.", data=await _compared(databases, caller, code, asked.months, None))


async def _compared(
    databases: Databases, caller: Caller, code: str, months: int, tariffs: Sequence[str] | None
) -> TariffComparison:
    meter = await readable(databases, caller, code, "billing", (caller.now - _YEAR, caller.now))
    named: dict[str, object] = {"code": code, "now": caller.now, "zone": meter.timezone, "months": months}
    async with databases.domain(caller) as domain:
        tried = await domain.rows(_QUERIES["what_if_tariffs"], {**named, "tariffs": tariffs})
        days = await domain.row(_QUERIES["what_if_days"], named)
        assert days is not None
        priced = [one["tariff_id"] for one in tried if one["reason"] is None]
        named |= {"tariffs": priced, **days}
        spans = await domain.rows(_QUERIES["what_if_spans"], named)
    known: list[Row] = []
    rated: list[Row] = []
    if spans:
        named["energy"] = (await _energy(databases, meter, spans))["energy"]
        async with databases.domain(caller) as domain:
            known = await domain.rows(_QUERIES["what_if_months"], named)
            for some in range(0, len(priced), _AT_ONCE):
                rated += await domain.rows(
                    _QUERIES["what_if_rate"], named | {"tariffs": priced[some : some + _AT_ONCE]}
                )
    rated.sort(key=lambda one: (one["reason"] is not None, one["currency"], Decimal(one["total_amount"] or 0)))
    found = {one["tariff_id"]: one for one in rated}
    place = {tariff_id: number for number, tariff_id in enumerate(found)}
    in_order = sorted(tried, key=lambda one: place.get(one["tariff_id"], len(place)))
    nothing: dict[str, object] = {"total_amount": None, "months": []}
    return TariffComparison(
        code=code,
        timezone=meter.timezone,
        months=[KnownMonth.model_validate(one) for one in known],
        tariffs=[RatedTariff.model_validate({**one, **found.get(one["tariff_id"], nothing)}) for one in in_order],
    )


async def _energy(databases: Databases, meter: Readable, spans: Sequence[Row], *, placed: bool = False) -> Row:
    """`energy` of the spans as JSON for the domain database, and its sums; `placed` says where what it lacks is."""
    if not spans:
        return {"energy": "[]", "energy_import_wh": 0, "energy_export_wh": 0}
    ends = {"starts": [one["starts_at"] for one in spans], "ends": [one["ends_at"] for one in spans]}
    async with databases.telemetry(meter.grants) as telemetry:
        found = await telemetry.row(_QUERIES["segment_energy"], {"meter": meter.meter_id, "placed": placed, **ends})
    assert found is not None
    return found
