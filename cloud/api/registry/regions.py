"""Regions: their names for all who are logged in, what they can carry for who looks after them; made by admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import NotFound, Problem
from cloud.api.http.fields import Instant, Words, Zone, printable
from cloud.api.http.fields import Region as Short
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.measured.readable import require_kept
from cloud.api.registry.recorded import Recorded, recorded
from cloud.api.registry.staff import admin, staff
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/regions", tags=["regions"])
_QUERIES = Queries("api_regions")
Which = Annotated[
    str, Path(max_length=63, description="Name of the region.", examples=["north"]), AfterValidator(printable)
]
Named = Annotated[Words, Field(description="Name for people.", examples=["The north"])]
Capacity = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False, description="What its supply can carry, W.")]


class Exists(Problem):
    """There is one of that name."""

    status, problem = 409, "conflict"


class Region(BaseModel):
    """A region of the grid: meters are summed and priced by it."""

    region: Annotated[str, Field(description="Short name.")]
    name: Annotated[str, Field(description="Name for people.")]
    timezone: Annotated[str, Field(description="IANA zone that its new meters get.")]
    capacity_w: Annotated[
        float | None,
        Field(description="What its supply can carry, W; null if unknown, and for whoever does not look after it."),
    ]
    capacity_since: Annotated[datetime | None, Field(description="Since when; null for always.")]
    created_at: Annotated[datetime, Field(description="When it was made.")]
    updated_at: Annotated[datetime, Field(description="When it changed last.")]


class Carried(BaseModel):
    """What a region could carry in a span of time, half-open."""

    capacity_w: Annotated[float, Field(description="W.")]
    from_: Annotated[datetime | None, Field(alias="from", description="Since when; null for always.")]
    to: Annotated[datetime | None, Field(description="Until when; null for no end.")]


class NewRegion(Body):
    """A region."""

    region: Short
    name: Named
    timezone: Zone
    capacity_w: Annotated[Capacity | None, Field(description="What its supply can carry, W, since always.")] = None


class RegionChange(Body):
    """What is left out stays; its meters keep their zone."""

    name: Annotated[Named, Field(default=None)]
    timezone: Annotated[Zone, Field(default=None)]


class NewCapacity(Body):
    """What a region's supply can carry from then on."""

    capacity_w: Annotated[Capacity | None, Field(description="W; null for unknown.")]
    from_: Annotated[
        Instant | None, Field(alias="from", description="Since when, not later than now; now where it is left out.")
    ] = None


@router.get("", openapi_extra=reach("region", user="all", operator="all"), responses=problems(401))
async def regions(caller: CallerIs, databases: DatabasesAre) -> Success[list[Region]]:
    """Regions by name."""
    async with databases.domain(caller) as domain:
        rows = await domain.rows(_QUERIES["list"], {"now": caller.now})
    return Success(message="Regions.", data=[Region.model_validate(row) for row in rows])


@router.post("", openapi_extra=reach(), status_code=201, responses=problems(401, 403, 409, 422, *ONCE))
async def make(body: NewRegion, caller: CallerIs, databases: DatabasesAre, once: OnceIs) -> Recorded[Region]:
    """Make a region."""
    async with admin(databases, caller) as domain:

        async def work() -> Recorded[Region]:
            if await domain.row(_QUERIES["region"], {"region": body.region, "now": caller.now}) is not None:
                raise Exists(f"there is a region {body.region} already", where="body.region")
            await domain.run(_QUERIES["set"], body.model_dump() | {"now": caller.now})
            return recorded("Made.", await _one(domain, body.region, caller.now), now=caller.now)

        return await once.answer(domain, Recorded[Region], work)


@router.get("/{region}", openapi_extra=reach("region", user="all", operator="all"), responses=problems(401, 404, 422))
async def region(region: Which, caller: CallerIs, databases: DatabasesAre) -> Success[Region]:
    """One region."""
    async with databases.domain(caller) as domain:
        found = await _one(domain, region, caller.now)
    return Success(message="A region.", data=found)


@router.patch("/{region}", openapi_extra=reach("region"), responses=problems(401, 403, 404, 422))
async def change(region: Which, body: RegionChange, caller: CallerIs, databases: DatabasesAre) -> Recorded[Region]:
    """Change its name, or the zone that new meters get."""
    wanted = {"name": None, "timezone": None, "capacity_w": None, "region": region, "now": caller.now}
    async with admin(databases, caller) as domain:
        await _one(domain, region, caller.now)
        await domain.run(_QUERIES["set"], wanted | body.model_dump(exclude_unset=True))
        changed = await _one(domain, region, caller.now)
    return recorded("Changed.", changed, now=caller.now)


@router.get(
    "/{region}/capacities", openapi_extra=reach("region", operator="region"), responses=problems(401, 403, 404, 422)
)
async def capacities(region: Which, caller: CallerIs, databases: DatabasesAre) -> Success[list[Carried]]:
    """What it could carry, and when. For its operators and for admins; to other operators it is not there."""
    async with staff(databases, caller, "regions", details={"region": region}) as domain:
        await require_kept(domain, region)
        rows = await domain.rows(_QUERIES["capacities"], {"region": region})
    return Success(message="Capacities.", data=[Carried.model_validate(row) for row in rows])


@router.put("/{region}/capacity", openapi_extra=reach("region"), responses=problems(401, 403, 404, 422))
async def set_capacity(
    region: Which, body: NewCapacity, caller: CallerIs, databases: DatabasesAre
) -> Recorded[list[Carried]]:
    """What its supply can carry from then on, until a change that was told for later. The loads since then are computed
    anew."""
    wanted = {"region": region, "capacity_w": body.capacity_w, "from": body.from_ or caller.now, "now": caller.now}
    async with admin(databases, caller) as domain:
        await domain.run(_QUERIES["caller_capacity_set"], wanted)
        rows = await domain.rows(_QUERIES["capacities"], {"region": region})
    return recorded("Recorded.", [Carried.model_validate(row) for row in rows], now=caller.now)


async def _one(domain: Transaction, region: str, now: datetime) -> Region:
    found = await domain.row(_QUERIES["region"], {"region": region, "now": now})
    if found is None:
        raise NotFound(f"there is no region {region}")
    return Region.model_validate(found)
