"""Meters that the caller may see."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.envelope import Success, problems
from cloud.api.errors import NotFound
from cloud.api.fields import Region, printable
from cloud.api.paging import Paging, page
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/meters", tags=["meters"])
_QUERIES = Queries("api_meters")
Code = Annotated[
    str,
    Path(max_length=40, description="Code of the meter.", examples=["MTR-00000001"]),
    AfterValidator(printable),
]


class Meter(BaseModel):
    """A meter, where it is now."""

    code: Annotated[str, Field(description="The name that people use.")]
    status: Annotated[
        Literal["registered", "active", "inactive", "faulty", "decommissioned"], Field(description="Its state.")
    ]
    model: Annotated[str | None, Field(description="Model on its plate.")]
    serial: Annotated[str | None, Field(description="Serial number on its plate.")]
    region: Annotated[str, Field(description="Region that it counts in now.")]
    timezone: Annotated[str, Field(description="IANA zone of its days and bills now.")]
    site: Annotated[str | None, Field(description="Building or plant.")]
    latitude_deg: Annotated[float | None, Field(description="Where it is, degrees north.")]
    longitude_deg: Annotated[float | None, Field(description="Where it is, degrees east.")]
    max_power_w: Annotated[float, Field(description="What its connection carries, W.")]
    register_modulus_wh: Annotated[int | None, Field(description="Where its registers wrap to 0, Wh; null if unknown.")]
    register_resets: Annotated[bool, Field(description="Whether its registers may begin again at any time.")]
    created_at: Annotated[datetime, Field(description="When it was registered.")]
    updated_at: Annotated[datetime, Field(description="When it changed last.")]


class Listing(Paging):
    """Which meters."""

    region: Annotated[Region | None, Field(description="Only those that are there now.")] = None


@router.get("", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 422))
async def meters(
    listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Meter]]:
    """The caller's meters; of an operator, those of their regions; of an admin, all."""
    wanted = {"after": listing.after, "limit": listing.limit, "region": listing.region}
    async with databases.domain(caller) as domain:
        rows = await domain.rows(_QUERIES["own_page" if domain.role == "USER" else "page"], wanted)
    shown, meta = page(rows, limit=listing.limit, key="meter_id")
    return Success(message="Meters.", data=[Meter.model_validate(row) for row in shown], meta=meta)


@router.get("/{code}", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422))
async def meter(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[Meter]:
    """One meter. Somebody else's is as absent as one that does not exist."""
    async with databases.domain(caller) as domain:
        found = await domain.row(_QUERIES["meter"], {"code": code})
    if found is None:
        raise NotFound(f"there is no meter {code}")
    return Success(message="A meter.", data=Meter.model_validate(found))
