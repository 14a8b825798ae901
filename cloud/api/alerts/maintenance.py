"""Maintenance windows: when work is done at a meter, a gateway, a site or in a region, and nobody is told of alerts."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field, model_validator

from cloud.api.access import reach
from cloud.api.billing.forms import Sentence
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Transaction
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.fields import GatewayName, Instant, Region, Words, printable
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.http.paging import Paging, page
from cloud.api.registry.staff import staff
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/maintenance-windows", tags=["maintenance"])
_QUERIES = Queries("api_alerts")
WindowId = Annotated[int, Path(ge=1, le=2**63 - 1, description="Number of the window.", examples=[7])]
_SUBJECTS = ("meter", "gateway", "site", "region")


class Window(BaseModel):
    """A time of work, half-open."""

    window_id: Annotated[int, Field(description="Its number.")]
    meter: Annotated[str | None, Field(description="Code of the meter; null where it is something else.")]
    gateway: Annotated[
        str | None, Field(description="The gateway, with what it reads; null where it is something else.")
    ]
    site: Annotated[str | None, Field(description="The site, with its meters; null where it is something else.")]
    region: Annotated[str | None, Field(description="The region, with all in it; null where it is something else.")]
    from_: Annotated[datetime, Field(alias="from", description="Since when.")]
    until: Annotated[datetime, Field(description="Until when.")]
    reason: Annotated[str, Field(description="What is done.", examples=["The transformer is replaced"])]
    created_by: Annotated[int | None, Field(description="Number of the user who said so; null for a command.")]
    created_at: Annotated[datetime, Field(description="When they did.")]


class NewWindow(Body):
    """A time of work at one meter, gateway or site, or in one region."""

    meter: Annotated[
        str | None,
        Field(max_length=40, description="Code of the meter."),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None
    gateway: Annotated[GatewayName | None, Field(description="The gateway, with what it reads.")] = None
    site: Annotated[Words | None, Field(description="The site, with its meters.")] = None
    region: Annotated[Region | None, Field(description="The region, with all in it.")] = None
    from_: Annotated[
        Instant | None,
        Field(alias="from", description="Since when; now where it is left out.", examples=["2999-12-01T17:00:00Z"]),
    ] = None
    until: Annotated[Instant, Field(description="Until when, which is yet to come.", examples=["2999-12-01T20:00:00Z"])]
    reason: Annotated[Sentence, Field(description="What is done.", examples=["The transformer is replaced"])]

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(getattr(self, name) is not None for name in _SUBJECTS) != 1:
            raise ValueError("give meter, gateway, site or region, and one of them only")
        return self


class Listing(Paging):
    """Which windows."""

    history: Annotated[bool, Field(description="Also those that are over.")] = False


@router.get("", openapi_extra=reach("maintenance", operator="region"), responses=problems(401, 403, 422))
async def windows(
    listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Window]]:
    """Maintenance that is under way or to come, the newest first. For operators and admins."""
    asked = {"after": listing.after, "limit": listing.limit, "window": None, "history": listing.history}
    async with staff(databases, caller, "maintenance-windows", details={"history": listing.history}) as domain:
        shown, meta = page(await domain.rows(_QUERIES["maintenance"], asked), limit=listing.limit, key="window_id")
        await domain.found("maintenance-windows", [row["meter_id"] for row in shown if row["meter_id"] is not None])
    return Success(message="Maintenance.", data=[Window.model_validate(row) for row in shown], meta=meta)


@router.post(
    "",
    openapi_extra=reach(operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 422, *ONCE),
)
async def add(body: NewWindow, caller: CallerIs, databases: DatabasesAre, once: OnceIs) -> Success[Window]:
    """Say when work is done. Alerts are recorded meanwhile, and people are told afterwards of what is not over."""
    about = {name: getattr(body, name) for name in ("gateway", "site", "region")}
    async with staff(databases, caller, "maintenance-windows", code=body.meter, details=about) as domain:

        async def work() -> Success[Window]:
            wanted = body.model_dump() | {"from": body.from_}
            made = await domain.value(_QUERIES["caller_maintenance_add"], wanted)
            return Success(message="It is noted.", data=await _one(domain, made))

        return await once.answer(domain, Success[Window], work)


@router.delete(
    "/{window_id}",
    openapi_extra=reach("maintenance", operator="region"),
    responses=problems(401, 403, 404, 409, 422),
)
async def end(window_id: WindowId, caller: CallerIs, databases: DatabasesAre) -> Success[Done]:
    """End maintenance now; what has not begun goes. Who waited to be told is told."""
    async with staff(databases, caller, "maintenance-windows", details={"window": window_id}) as domain:
        await domain.run(_QUERIES["caller_maintenance_end"], {"window": window_id})
    return Success(message="It ended.", data=Done(message="It ended."))


async def _one(domain: Transaction, window_id: int) -> Window:
    asked = {"after": 0, "limit": 1, "window": window_id, "history": True}
    return Window.model_validate(await domain.row(_QUERIES["maintenance"], asked))
