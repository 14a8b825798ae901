"""Runs of a month: which meters are billed, and why others are not. `segs-cloud billing run` bills."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from cloud.api.access import reach
from cloud.api.billing.forms import first_day
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Success, problems
from cloud.api.http.paging import Paging, page
from cloud.api.registry.staff import staff
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/billing/runs", tags=["billing"])
_QUERIES = Queries("api_billing")
State = Literal["pending", "drafted", "done", "blocked"]
Which = Annotated[
    str,
    Path(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="Month, local to each meter.", examples=["2026-10"]),
]


class BillingReason(BaseModel):
    """Why meters are not billed."""

    reason: Annotated[str, Field(description="Short name.", examples=["no_owner"])]
    meters: Annotated[int, Field(description="How many meters.")]


class BillingRun(BaseModel):
    """What became of a month so far, of the meters that the caller looks after."""

    month: Annotated[str, Field(description="The month.", examples=["2026-10"])]
    meters: Annotated[int, Field(description="How many meters are to be billed.")]
    pending: Annotated[int, Field(description="How many were not tried, or are to be billed again.")]
    drafted: Annotated[int, Field(description="How many have a draft.")]
    done: Annotated[int, Field(description="How many are billed.")]
    blocked: Annotated[int, Field(description="How many could not be billed, or not whole.")]
    tried_at: Annotated[datetime | None, Field(description="When a run tried one last.")]
    reasons: Annotated[
        list[BillingReason],
        Field(description="Why, the most frequent first; late of meters with bills that no run corrects any more."),
    ]


class BillingFinding(BaseModel):
    """Why part of a meter's month is not billed."""

    reason: Annotated[str, Field(description="Short name.", examples=["missing"])]
    from_: Annotated[datetime | None, Field(alias="from", description="Since when.")]
    to: Annotated[datetime | None, Field(description="Until when, half-open.")]
    text: Annotated[
        str, Field(description="What to do.", examples=["4 quarter-hours are missing; wait for them, or estimate them"])
    ]


class BilledMeter(BaseModel):
    """A meter of the month."""

    meter: Annotated[str, Field(description="Code of the meter.")]
    state: Annotated[State, Field(description="What became of it.")]
    tried_at: Annotated[datetime | None, Field(description="When a run tried it last.")]
    findings: Annotated[
        list[BillingFinding],
        Field(description="Why it is not billed, or not whole; late of bills of months that no run corrects any more."),
    ]


class Listing(Paging):
    """Which meters."""

    state: Annotated[State | None, Field(description="Only those of which this became.")] = None
    reason: Annotated[
        str | None, Field(pattern=r"^[a-z_]{1,40}$", description="Only for this reason.", examples=["no_owner"])
    ] = None


@router.get("/{month}", openapi_extra=reach(operator="region"), responses=problems(401, 403, 404, 422))
async def run(month: Which, caller: CallerIs, databases: DatabasesAre) -> Success[BillingRun]:
    """How far a month is billed, and what could not be. Of an operator, the meters of their regions."""
    named = {"month": first_day(month)}
    async with staff(databases, caller, "billing/runs", details={"month": month}) as domain:
        found = await domain.row(_QUERIES["run"], named)
        reasons = await domain.rows(_QUERIES["reasons"], named)
    return Success(
        message="A month.", data=BillingRun.model_validate({**(found or {}), "month": month, "reasons": reasons})
    )


@router.get("/{month}/meters", openapi_extra=reach(operator="region"), responses=problems(401, 403, 404, 422))
async def run_meters(
    month: Which, listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[BilledMeter]]:
    """Meters of a month, with what could not be billed and why. Of an operator, those of their regions."""
    asked = listing.model_dump(exclude={"cursor"})
    async with staff(databases, caller, "billing/runs", details=asked | {"month": month}) as domain:
        rows = await domain.rows(_QUERIES["run_page"], asked | {"after": listing.after, "month": first_day(month)})
        shown, meta = page(rows, limit=listing.limit, key="meter_id")
        await domain.found("billing/runs", [row["meter_id"] for row in shown])
    return Success(message="Meters.", data=[BilledMeter.model_validate(row) for row in shown], meta=meta)
