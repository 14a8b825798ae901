"""Which device of a gateway is which meter: for operators and admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Row, Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.fields import DeviceName, GatewayName, IntervalMs, Region, Watts, Zone, printable
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.registry.gateways import Name
from cloud.api.registry.importing import TABLE, Importing, Made, RowsRefused, import_rows, read_table
from cloud.api.registry.meters import Model, Serial
from cloud.api.registry.recorded import Recorded, recorded
from cloud.api.registry.staff import staff
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/gateways", tags=["gateways"])
_QUERIES = Queries("api_gateways")
Existing = Annotated[
    str,
    Field(max_length=40, description="Code of a meter that exists; else a new one is made.", examples=["MTR-00000001"]),
    AfterValidator(printable),
]
Which = Annotated[
    str,
    Path(max_length=96, description="The gateway's name of the device; name/n for its channel n.", examples=["main"]),
    AfterValidator(printable),
]


class Device(BaseModel):
    """A registration: readings of the device in this span are the meter's."""

    device: Annotated[str, Field(description="The gateway's name of it.")]
    meter: Annotated[str, Field(description="Code of the meter that it is.")]
    interval_ms: Annotated[int, Field(description="Expected time between two readings, ms.")]
    from_: Annotated[datetime | None, Field(alias="from", description="Since when; null for always.")]
    to: Annotated[datetime | None, Field(description="Until when; null for no end.")]


class NewDevice(Body):
    """A device, and which meter it is: one that exists, or a new one with its place and plate."""

    device: DeviceName
    interval_ms: IntervalMs
    meter: Existing | None = None
    region: Annotated[Region | None, Field(description="Region of a new meter.")] = None
    timezone: Annotated[Zone | None, Field(description="IANA zone of a new meter; else the region's.")] = None
    model: Model | None = None
    serial: Serial | None = None
    max_power_w: Watts | None = None

    @model_validator(mode="after")
    def _either(self) -> "NewDevice":
        if self.meter is None and (self.region is None or self.model is None):
            raise ValueError("a new meter has region and model; give both, or the code of a meter that exists")
        if self.meter is not None and (self.region or self.timezone or self.model or self.serial or self.max_power_w):
            raise ValueError("a meter that exists has its region and plate already; give its code and nothing of these")
        return self


class Moving(Body):
    """As which device a meter is read from now on."""

    to_gateway: Annotated[GatewayName | None, Field(description="Another gateway; else the same.")] = None
    to_device: Annotated[DeviceName | None, Field(description="Another device; else one of the same name.")] = None
    interval_ms: IntervalMs | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> "Moving":
        if self.to_gateway is None and self.to_device is None:
            raise ValueError("say where it goes: to_gateway, to_device or both")
        return self


class Ended(BaseModel):
    """A registration that is over."""

    meter: Annotated[str, Field(description="Code of the meter that it was; what was read stays the meter's.")]


class Listing(BaseModel):
    """Which devices."""

    model_config = ConfigDict(extra="forbid")

    ended: Annotated[bool, Field(description="Those too that it read once.")] = False


@router.get(
    "/{name}/devices", openapi_extra=reach("gateway", operator="region"), responses=problems(401, 403, 404, 422)
)
async def devices(
    name: Name, listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Device]]:
    """Devices that a gateway reads, as far as the caller looks after their meters."""
    async with staff(databases, caller, "devices", details={"gateway": name}) as domain:
        rows = await domain.rows(_QUERIES["devices"], {"name": name, "ended": listing.ended})
        await domain.found("devices", [row["meter_id"] for row in rows])
    return Success(message="Devices.", data=[Device.model_validate(row) for row in rows])


@router.post(
    "/{name}/devices",
    openapi_extra=reach("gateway", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def register(
    name: Name, body: NewDevice, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Recorded[Device]:
    """Register a device. Readings that wait for it in the quarantine are stored then."""
    async with staff(databases, caller, "devices", details={"gateway": name}) as domain:

        async def work() -> Recorded[Device]:
            await _register(domain, name, body, caller.now)
            found = await _one(domain, name, body.device)
            return recorded("Registered.", Device.model_validate(found), now=caller.now)

        return await once.answer(domain, Recorded[Device], work)


@router.post(
    "/{name}/devices/import",
    responses=problems(401, 403, 404, 413, 422, RowsRefused, *ONCE),
    openapi_extra=TABLE | reach("gateway", operator="region"),
)
async def import_(
    name: Name,
    how: Annotated[Importing, Query()],
    request: Request,
    caller: CallerIs,
    databases: DatabasesAre,
    once: OnceIs,
) -> Recorded[Made]:
    """Register the devices of a CSV file in UTF-8, with the fields of a single registration as columns: all or none,
    unless `partial` is said. Those that are registered already are left as they are."""
    async with staff(databases, caller, "devices", details={"gateway": name}) as domain:
        # Of nobody who may not import it is even looked at.
        table = read_table(await request.body(), NewDevice, alone=("device",), region=how.region)
        rows = await domain.rows(_QUERIES["devices"], {"name": name, "ended": False})
        known = {row["device"]: row["meter"] for row in rows}

        async def make(row: NewDevice) -> tuple[str, bool]:
            if row.device in known:
                return known[row.device], False
            return await _register(domain, name, row, caller.now), True

        async def work() -> Recorded[Made]:
            made = await import_rows(domain, table, make, how)
            return recorded(made.told, made, now=caller.now)

        return await once.answer(domain, Recorded[Made], work)


@router.post(
    "/{name}/devices/{device:path}/move",
    openapi_extra=reach("gateway", operator="region"),
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def move(
    name: Name, device: Which, body: Moving, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Recorded[Device]:
    """The device's meter is read as another device from now on; what was read before stays."""
    to_gateway, to_device = body.to_gateway or name, body.to_device or device
    wanted = {"name": name, "device": device, "interval_ms": body.interval_ms, "now": caller.now}
    async with staff(databases, caller, "devices", details={"gateway": name}) as domain:

        async def work() -> Recorded[Device]:
            await domain.run(_QUERIES["device_move"], wanted | {"to_gateway": to_gateway, "to_device": to_device})
            found = await _one(domain, to_gateway, to_device)
            return recorded("Moved.", Device.model_validate(found), now=caller.now)

        return await once.answer(domain, Recorded[Device], work)


@router.delete(
    "/{name}/devices/{device:path}",
    openapi_extra=reach("gateway", operator="region"),
    responses=problems(401, 403, 404, 422),
)
async def end(name: Name, device: Which, caller: CallerIs, databases: DatabasesAre) -> Recorded[Ended]:
    """End a registration now; what was read before stays the meter's."""
    async with staff(databases, caller, "devices", details={"gateway": name}) as domain:
        code = await domain.value(_QUERIES["device_end"], {"name": name, "device": device, "now": caller.now})
    return recorded("Ended.", Ended(meter=code), now=caller.now)


async def _register(domain: Transaction, gateway: str, new: NewDevice, now: datetime) -> str:
    return str(await domain.value(_QUERIES["device_register"], new.model_dump() | {"name": gateway, "now": now}))


async def _one(domain: Transaction, gateway: str, device: str) -> Row:
    rows = await domain.rows(_QUERIES["devices"], {"name": gateway, "ended": False})
    return next(row for row in rows if row["device"] == device)
