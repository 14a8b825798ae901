"""What a kWh costs in a region: its price follows its load, and operators may set another one for a while."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from cloud.api.access import reach
from cloud.api.billing.forms import Number, Sentence
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import NotFound
from cloud.api.http.fields import Instant
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.http.paging import Paging, page
from cloud.api.measured.readable import require_kept
from cloud.api.registry.regions import Which
from cloud.api.registry.staff import staff
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/regions/{region}", tags=["regions"])
_QUERIES = Queries("region_prices")
OverrideId = Annotated[int, Path(ge=1, lt=2**31, description="Number of the override.", examples=[7])]
Factor = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$")]
Price = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,8})?$")]


class RegionPrice(BaseModel):
    """A price of a region, and when it is in force."""

    from_: Annotated[datetime, Field(alias="from", description="Since when, the start of a quarter-hour.")]
    to: Annotated[datetime | None, Field(description="Until when; null while nothing is known to follow.")]
    currency: Annotated[str, Field(description="ISO 4217.")]
    price_per_kwh: Annotated[Number, Field(description="What a kWh costs, a decimal, in currency.", examples=["0.44"])]
    base_price_per_kwh: Annotated[Number, Field(description="The same at factor 1, in currency.", examples=["0.40"])]
    factor: Annotated[
        Number | None, Field(description="By how much the base price is multiplied; null where a price is set.")
    ]
    tier: Annotated[
        int | None, Field(description="Number of the tier that the load is in, from 0; null before one is known.")
    ]
    load_percent: Annotated[
        float | None,
        Field(description="Load that it was decided by, percent; null for whoever does not look after the region."),
    ]
    reason: Annotated[
        Literal["base", "load", "override"],
        Field(description="By the load, by an operator, or base: it was set so, whatever the load."),
    ]
    said: Annotated[str | None, Field(description="Why, where an operator set it.", examples=["Storm in the north"])]


class RegionPrices(BaseModel):
    """What a kWh costs now, and did before."""

    region: Annotated[str, Field(description="Name of the region.")]
    now: Annotated[RegionPrice | None, Field(description="The price in force; null where there is none.")]
    history: Annotated[
        list[RegionPrice], Field(description="The latest first; those that are known to come are among them.")
    ]


class Override(BaseModel):
    """A price that an operator set for a while."""

    override_id: Annotated[int, Field(description="Its number.")]
    factor: Annotated[Number | None, Field(description="Factor on the base price; null where a price is set.")]
    price_per_kwh: Annotated[Number | None, Field(description="Price, in the region's currency; null for a factor.")]
    from_: Annotated[datetime, Field(alias="from", description="Since when.")]
    until: Annotated[datetime, Field(description="Until when, as it was ordered; half-open.")]
    reason: Annotated[str, Field(description="Why.", examples=["Storm in the north"])]
    made_by: Annotated[str, Field(description="Who, as the audit log names them.", examples=["user:5"])]
    created_at: Annotated[datetime, Field(description="When it was ordered.")]
    ended_at: Annotated[datetime | None, Field(description="When somebody ended it before its time.")]
    ended_by: Annotated[str | None, Field(description="Who did.", examples=["user:5"])]
    end_reason: Annotated[str | None, Field(description="Why they did.", examples=["The storm is over"])]
    in_force: Annotated[bool, Field(description="Whether it is in force now.")]


class NewOverride(Body):
    """A price for a while: a factor on the base price, or the price itself."""

    factor: Annotated[
        Factor | None,
        Field(description="Factor on the base price, 0 to 100, a decimal without unit.", examples=["1.5"]),
    ] = None
    price_per_kwh: Annotated[
        Price | None, Field(description="Price of a kWh, a decimal, in the region's currency.", examples=["0.90"])
    ] = None
    from_: Annotated[
        Instant | None,
        Field(
            alias="from",
            description="Since when, a quarter-hour that has not begun; the next one where it is left out.",
            examples=["2026-12-01T17:00:00Z"],
        ),
    ] = None
    until: Annotated[
        Instant, Field(description="Until when, the end of a quarter-hour.", examples=["2026-12-01T20:00:00Z"])
    ]
    reason: Annotated[Sentence, Field(description="Why; customers read it.", examples=["Storm in the north"])]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.factor is None) == (self.price_per_kwh is None):
            raise ValueError("give factor or price_per_kwh, and not both")
        return self


class Ending(BaseModel):
    """Why an override ends."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[Sentence, Field(description="Why; it is kept.", examples=["The storm is over"])]


@router.get("/price", openapi_extra=reach("region", user="all", operator="all"), responses=problems(401, 404, 422))
async def price(
    region: Which, paging: Annotated[Paging, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[RegionPrices]:
    """What a kWh costs in a region now, and its history, a page at a time."""
    named = {"region": region, "after": paging.after, "limit": paging.limit}
    async with databases.domain(caller) as domain:
        now = await domain.row(_QUERIES["now"], named)
        rows = await domain.rows(_QUERIES["page"], named)
    shown, meta = page(rows, limit=paging.limit, key="key")
    found = {"region": region, "now": now, "history": shown}
    return Success(message="Prices.", data=RegionPrices.model_validate(found), meta=meta)


@router.get("/overrides", openapi_extra=reach("region", operator="region"), responses=problems(401, 403, 404, 422))
async def overrides(
    region: Which, paging: Annotated[Paging, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Override]]:
    """Prices that were set for a while, the latest first. For the region's operators and for admins."""
    async with staff(databases, caller, "regions", details={"region": region}) as domain:
        await require_kept(domain, region)
        asked = {"region": region, "after": paging.after, "limit": paging.limit, "override": None}
        rows = await domain.rows(_QUERIES["overrides"], asked)
    shown, meta = page(rows, limit=paging.limit, key="override_id")
    return Success(message="Overrides.", data=[Override.model_validate(row) for row in shown], meta=meta)


@router.post(
    "/overrides",
    openapi_extra=reach("region", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def override(
    region: Which, body: NewOverride, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[Override]:
    """Set the price of a region for a while. It wins over the load's until its end; customers are told."""
    async with staff(databases, caller, "regions", details={"region": region}) as domain:

        async def work() -> Success[Override]:
            made = await domain.value(
                _QUERIES["caller_add"],
                {
                    "region": region,
                    "factor": _decimal(body.factor),
                    "price": _decimal(body.price_per_kwh),
                    "from": body.from_,
                    "until": body.until,
                    "reason": body.reason,
                },
            )
            return Success(message="Set.", data=await _one(domain, region, made))

        return await once.answer(domain, Success[Override], work)


@router.delete(
    "/overrides/{override_id}",
    openapi_extra=reach("override", operator="region"),
    responses=problems(401, 403, 404, 409, 422),
)
async def end_override(
    region: Which,
    override_id: OverrideId,
    ending: Annotated[Ending, Query()],
    caller: CallerIs,
    databases: DatabasesAre,
) -> Success[Override]:
    """End an override with this quarter-hour, or before it begins; what was in force stays."""
    async with staff(databases, caller, "regions", details={"region": region}) as domain:
        what = {"region": region, "override": override_id, "reason": ending.reason}
        await domain.run(_QUERIES["caller_end"], what)
        ended = await _one(domain, region, override_id)
    return Success(message="Ended.", data=ended)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


async def _one(domain: Transaction, region: str, override_id: int) -> Override:
    asked = {"region": region, "after": 0, "limit": 1, "override": override_id}
    found = await domain.row(_QUERIES["overrides"], asked)
    if found is None:
        raise NotFound(f"region {region} has no override {override_id}")
    return Override.model_validate(found)
