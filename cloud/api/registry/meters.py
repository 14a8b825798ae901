"""Meters that the caller may see: which there are, new ones, and what is known of one."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, BaseModel, Field, model_validator

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import NotFound
from cloud.api.http.etag import IfMatch, IfNoneMatch, polled, polled_one, require_match, tag
from cloud.api.http.fields import DeviceName, GatewayName, IntervalMs, Region, Watts, Words, Zone, printable
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.http.paging import Paging, page
from cloud.api.registry.recorded import Recorded, recorded
from cloud.api.registry.staff import staff
from cloud.command import LARGEST_WH
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/meters", tags=["meters"])
_QUERIES = Queries("api_meters")
_DEVICES = Queries("api_gateways")
Code = Annotated[
    str,
    Path(max_length=40, description="Code of the meter.", examples=["MTR-00000001"]),
    AfterValidator(printable),
]
Status = Literal["registered", "active", "inactive", "faulty", "decommissioned"]
Model = Annotated[Words, Field(description="Maker and model on its plate.", examples=["eastron-sdm630"])]
Serial = Annotated[Words, Field(description="Serial number on its plate; a meter is registered once.")]
Site = Annotated[
    Words, Field(description="Building or plant: meters of one site that go silent together are one alert.")
]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, description="Where it is, degrees north.")]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, description="Where it is, degrees east.")]
Voltage = Annotated[
    float,
    Field(gt=0, le=1e6, allow_inf_nan=False, description="Nominal, between phase and neutral, V.", examples=[230]),
]
Phases = Annotated[
    int,
    Field(ge=1, le=7, description="Which are connected, a number of bits: 1, 2 and 4 for phases 1 to 3.", examples=[7]),
]
Rating = Annotated[
    float, Field(gt=0, le=1e12, allow_inf_nan=False, description="What it is rated for; overload is told by it, W.")
]
Exports = Annotated[bool, Field(description="Whether it may feed in; without it, as its tariff and generators say.")]
Modulus = Annotated[int, Field(ge=1, le=LARGEST_WH, description="Where its registers wrap to 0, Wh.")]
Resets = Annotated[bool, Field(description="Whether its registers may begin again at any time.")]


class Meter(BaseModel):
    """A meter, where it is now. What customers do not see is null for them."""

    code: Annotated[str, Field(description="The name that people use.")]
    status: Annotated[Status, Field(description="Its state.")]
    model: Annotated[str | None, Field(description="Model on its plate.")]
    serial: Annotated[str | None, Field(description="Serial number on its plate.")]
    region: Annotated[str, Field(description="Region that it counts in now.")]
    timezone: Annotated[str, Field(description="IANA zone of its days and bills now.")]
    site: Annotated[str | None, Field(description="Building or plant.")]
    latitude_deg: Annotated[float | None, Field(description="Where it is, degrees north.")]
    longitude_deg: Annotated[float | None, Field(description="Where it is, degrees east.")]
    max_power_w: Annotated[float, Field(description="What its connection carries, W.")]
    nominal_voltage_v: Annotated[float, Field(description="Nominal, between phase and neutral, V.", examples=[230])]
    phases: Annotated[
        int | None,
        Field(
            description="Connected phases, a number of bits: 1, 2, 4; null for those that had voltage.", examples=[7]
        ),
    ]
    rated_power_w: Annotated[float | None, Field(description="What it is rated for, W; null if unknown.")]
    exports: Annotated[bool | None, Field(description="Whether it may feed in; null as tariff and generators say.")]
    register_modulus_wh: Annotated[int | None, Field(description="Where its registers wrap to 0, Wh; null if unknown.")]
    register_resets: Annotated[bool, Field(description="Whether its registers may begin again at any time.")]
    owner_id: Annotated[int | None, Field(description="Whose it is now; null where it is nobody's.")]
    gateway: Annotated[str | None, Field(description="Gateway that reads it now; null for customers.")]
    device: Annotated[str | None, Field(description="The gateway's name of it; null for customers.")]
    interval_ms: Annotated[int | None, Field(description="Time between two readings, ms; null for customers.")]
    created_at: Annotated[datetime, Field(description="When it was registered.")]
    updated_at: Annotated[datetime, Field(description="When it changed last.")]


class Listing(Paging):
    """Which meters."""

    region: Annotated[Region | None, Field(description="Only those that are there now.")] = None
    status: Annotated[Status | None, Field(description="Only those in this state.")] = None
    gateway: Annotated[GatewayName | None, Field(description="Only those that it reads now.")] = None
    owner: Annotated[
        int | None, Field(ge=1, lt=2**31, description="Only those that are now the user's with this number.")
    ] = None
    search: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="Part of the code or of the serial number."),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None


class NewMeter(Body):
    """A meter, where it is, and what reads it, if anything does yet."""

    region: Region
    timezone: Annotated[Zone | None, Field(description="IANA zone of its days and bills; else the region's.")] = None
    model: Model | None = None
    serial: Serial | None = None
    site: Site | None = None
    latitude_deg: Latitude | None = None
    longitude_deg: Longitude | None = None
    max_power_w: Watts | None = None
    nominal_voltage_v: Voltage | None = None
    phases: Phases | None = None
    rated_power_w: Rating | None = None
    exports: Exports | None = None
    register_modulus_wh: Modulus | None = None
    register_resets: Resets | None = None
    gateway: GatewayName | None = None
    device: DeviceName | None = None
    interval_ms: IntervalMs | None = None

    @model_validator(mode="after")
    def _whole(self) -> "NewMeter":
        read = (self.gateway, self.device, self.interval_ms)
        if any(part is not None for part in read) and any(part is None for part in read):
            raise ValueError("what reads it is gateway, device and interval_ms; give all three or none")
        if (self.latitude_deg is None) != (self.longitude_deg is None):
            raise ValueError("a place has latitude_deg and longitude_deg; give both or none")
        if self.serial is not None and self.model is None:
            raise ValueError("a serial number is one of a model; give model as well")
        return self


class MeterChange(Body):
    """What is left out stays. Region and zone change by moving, registers by their own endpoint."""

    status: Annotated[Status, Field(default=None, description="Its state.")]
    model: Model | None = None
    serial: Serial | None = None
    site: Site | None = None
    latitude_deg: Latitude | None = None
    longitude_deg: Longitude | None = None
    max_power_w: Annotated[Watts, Field(default=None)]
    nominal_voltage_v: Annotated[Voltage, Field(default=None)]
    phases: Phases | None = None
    rated_power_w: Rating | None = None
    exports: Exports | None = None


@router.get("", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422))
async def meters(
    listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Meter]]:
    """The caller's meters; of an operator, those of their regions; of an admin, all."""
    wanted = listing.model_dump(exclude={"cursor"}) | {"after": listing.after}
    async with databases.domain(caller) as domain:
        await domain.look("meters", details=wanted)
        named = await domain.row(_QUERIES["named"], wanted)
        for name, known in (named or {}).items():
            if not known:
                raise NotFound(f"there is no {name} {wanted[name]}", where=f"query.{name}")
        rows = await domain.rows(_QUERIES["own_page" if domain.role == "USER" else "page"], wanted)
        shown, meta = page(rows, limit=listing.limit, key="meter_id")
        await domain.found("meters", [row["meter_id"] for row in shown])
    return Success(message="Meters.", data=[Meter.model_validate(row) for row in shown], meta=meta)


@router.post(
    "",
    openapi_extra=reach(operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def make(body: NewMeter, caller: CallerIs, databases: DatabasesAre, once: OnceIs) -> Recorded[Meter]:
    """Register a meter in a region that the caller looks after. It is nobody's until it is given or claimed."""
    about = body.model_dump(include={"region", "model", "serial"})
    async with staff(databases, caller, "meters", details=about) as domain:

        async def work() -> Recorded[Meter]:
            made = await seen(domain, await add(domain, body, now=caller.now))
            return recorded("Registered.", made, now=caller.now)

        return await once.answer(domain, Recorded[Meter], work)


@router.get(
    "/{code}",
    openapi_extra=reach("meter", user="own", operator="region"),
    responses=polled(401, 404, 422),
    response_model=Success[Meter],
)
async def meter(code: Code, given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre) -> Response:
    """One meter, and its ETag. Somebody else's is as absent as one that does not exist."""
    async with databases.domain(caller) as domain:
        found = await seen(domain, code)
    return polled_one(given, Success(message="A meter.", data=found), found)


@router.patch(
    "/{code}", openapi_extra=reach("meter", operator="region"), responses=problems(401, 403, 404, 409, 412, 422, 428)
)
async def change(
    code: Code,
    body: MeterChange,
    caller: CallerIs,
    databases: DatabasesAre,
    response: Response,
    if_match: IfMatch = None,
) -> Recorded[Meter]:
    """Change what is known of a meter, if it still is what If-Match names."""
    async with staff(databases, caller, "meters", code=code) as domain:
        if await domain.row(_QUERIES["locked"], {"code": code}) is None:
            raise NotFound(f"there is no meter {code}")
        require_match(if_match, await seen(domain, code))
        wanted = {"code": code, "change": Jsonb(body.model_dump(exclude_unset=True))}
        await domain.run(_QUERIES["change"], wanted)
        changed = await seen(domain, code)
    response.headers["etag"] = tag(changed)
    return recorded("Changed.", changed, now=caller.now)


async def seen(domain: Transaction, code: str) -> Meter:
    """The meter, as the caller sees it. Raises NotFound."""
    await domain.look("meters", code=code)
    found = await domain.row(_QUERIES["meter"], {"code": code})
    if found is None:
        raise NotFound(f"there is no meter {code}")
    return Meter.model_validate(found)


async def add(domain: Transaction, new: NewMeter, *, now: datetime) -> str:
    """Registers it; its code."""
    plate = new.model_dump(include={"region", "timezone", "model", "serial", "max_power_w"}) | {"now": now}
    if new.device is None:
        code = await domain.value(_QUERIES["add"], plate)
    else:
        read = {"name": new.gateway, "device": new.device, "interval_ms": new.interval_ms, "meter": None}
        code = await domain.value(_DEVICES["device_register"], plate | read)
    further = {"site", "latitude_deg", "longitude_deg", "register_modulus_wh", "register_resets"}
    further |= {"nominal_voltage_v", "phases", "rated_power_w", "exports"}
    rest: dict[str, Any] = new.model_dump(include=further, exclude_none=True)
    if rest:
        await domain.run(_QUERIES["change"], {"code": code, "change": Jsonb(rest)})
    return str(code)
