"""Gateways and their keys: for operators and admins. A key is shown once, in the answer that makes it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Caller, Databases, Row
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import NotFound
from cloud.api.http.etag import IfNoneMatch, polled, tagged
from cloud.api.http.fields import GatewayName, Region, printable
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.http.paging import Paging, page
from cloud.api.registry.recorded import Recorded, recorded
from cloud.api.registry.staff import admin, staff
from cloud.db.queries import Queries
from cloud.gateways.health import Gateway as Known
from cloud.gateways.health import Heard, Registered
from cloud.gateways.key import Key as Secret
from contract.report import Report

router = APIRouter(prefix="/api/v1/gateways", tags=["gateways"])
_QUERIES = Queries("api_gateways")
_READS = Queries("reads")
Name = Annotated[
    str,
    Path(max_length=63, description="Name of the gateway, as in its own configuration.", examples=["attic"]),
    AfterValidator(printable),
]
Health = Literal["ok", "troubled", "silent", "never", "unused"]


class Backlog(BaseModel):
    """What a gateway has no receipt for yet, by its last report."""

    readings: Annotated[int, Field(description="Readings.")]
    bytes: Annotated[int, Field(description="Their size in its buffer, bytes.")]
    oldest_at: Annotated[datetime | None, Field(description="When the oldest of them was read.")]
    age_s: Annotated[float | None, Field(description="How old the oldest is, s.")]


class Gateway(BaseModel):
    """A gateway, and how it is doing. What only its reports say is null until one has come."""

    name: Annotated[str, Field(description="Its name, as in its own configuration.")]
    region: Annotated[str | None, Field(description="Whose operators look after it; null for those of its meters.")]
    enabled: Annotated[bool, Field(description="Whether anything is accepted from it.")]
    disabled_at: Annotated[datetime | None, Field(description="Since when nothing is.")]
    keys: Annotated[list[int], Field(description="Numbers of its valid keys.", examples=[[17]])]
    devices: Annotated[int, Field(description="How many devices it reads now.")]
    health: Annotated[
        Health,
        Field(
            description="ok; troubled, by its own word; silent for more than 5 minutes; never heard; unused: heard, "
            "and without a device."
        ),
    ]
    last_batch_at: Annotated[datetime | None, Field(description="When its last batch came.")]
    last_report_at: Annotated[datetime | None, Field(description="When it last said how it is doing.")]
    last_receipt_at: Annotated[datetime | None, Field(description="When it got its last receipt, by its report.")]
    batches: Annotated[int, Field(description="How many batches it has delivered in all.")]
    readings: Annotated[int, Field(description="Readings that it has delivered in all.")]
    software: Annotated[str | None, Field(description="Program and release.")]
    started_at: Annotated[datetime | None, Field(description="When it was started, by its own clock.")]
    backlog: Annotated[Backlog | None, Field(description="What waits in its buffer.")]
    loss_window_s: Annotated[float | None, Field(description="What a power cut costs at most, s.")]
    clock_ahead_s: Annotated[float | None, Field(description="How far its clock is ahead of the receiver's, s.")]
    meters: Annotated[int | None, Field(description="Meters that it reads, by its report.")]
    silent_meters: Annotated[int | None, Field(description="How many of them do not answer.")]
    troubles: Annotated[
        list[str] | None, Field(description="What it complains of.", examples=[["2 meters are silent"]])
    ]
    created_at: Annotated[datetime, Field(description="When it was registered.")]
    updated_at: Annotated[datetime, Field(description="When it changed last.")]


class Key(BaseModel):
    """A key; what it is, only the gateway knows."""

    key_id: Annotated[int, Field(description="Number of the key.")]
    created_at: Annotated[datetime, Field(description="When it was made.")]
    revoked_at: Annotated[datetime | None, Field(description="When it was revoked; null while it is valid.")]


class NewKey(BaseModel):
    """A key for the gateway's key file."""

    name: Annotated[str, Field(description="Name of the gateway.")]
    key_id: Annotated[int, Field(description="Number of the key.")]
    key: Annotated[str, Field(description="The key. It is shown in this answer and in no other.")]


class Listing(Paging):
    """Which gateways."""

    region: Annotated[Region | None, Field(description="Only those that its operators look after.")] = None
    search: Annotated[
        str | None,
        Field(min_length=1, max_length=63, description="Part of the name."),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None


class NewGateway(Body):
    """A gateway."""

    name: GatewayName
    region: Annotated[
        Region | None, Field(description="Whose operators look after it; only an admin leaves it out.")
    ] = None


class GatewayChange(Body):
    """Whose operators look after it; null for those of its meters."""

    region: Region | None


class Revoking(BaseModel):
    """How a key is revoked."""

    model_config = ConfigDict(extra="forbid")

    last: Annotated[bool, Field(description="Revoke it even if the gateway then has none, and delivers nothing.")] = (
        False
    )


@router.get(
    "",
    openapi_extra=reach("gateway", operator="region"),
    responses=polled(401, 403, 422),
    response_model=Success[list[Gateway]],
)
async def gateways(
    listing: Annotated[Listing, Query()], given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre
) -> Response:
    """Gateways that the caller looks after, and how they are doing."""
    wanted = listing.model_dump(exclude={"cursor"}) | {"after": listing.after}
    async with staff(databases, caller, "gateways", details=wanted) as domain:
        rows = await domain.rows(_QUERIES["page"], wanted)
    shown, meta = page(rows, limit=listing.limit, key="gateway_id")
    found = Success(message="Gateways.", data=await _doing(databases, shown, caller.now), meta=meta)
    return tagged(given, found.model_dump_json(by_alias=True).encode())


@router.post(
    "",
    openapi_extra=reach(operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def make(
    body: NewGateway, caller: CallerIs, databases: DatabasesAre, response: Response, once: OnceIs
) -> Recorded[NewKey]:
    """Register a gateway. Its first key is in the answer, and nowhere else."""
    response.headers["cache-control"] = "no-store"
    async with staff(databases, caller, "gateways", details={"gateway": body.name}) as domain:

        async def work() -> Recorded[NewKey]:
            secret = Secret.generate()
            await domain.run(_QUERIES["add"], body.model_dump() | {"key_hash": secret.digest, "now": caller.now})
            [key] = await domain.rows(_QUERIES["keys"], {"name": body.name})
            return _shown(body.name, key["key_id"], secret, caller)

        return await once.answer(domain, Recorded[NewKey], work)


@router.get(
    "/{name}",
    openapi_extra=reach("gateway", operator="region"),
    responses=polled(401, 403, 404, 422),
    response_model=Success[Gateway],
)
async def gateway(name: Name, given: IfNoneMatch, caller: CallerIs, databases: DatabasesAre) -> Response:
    """One gateway, and how it is doing."""
    found = Success(message="A gateway.", data=await _one(name, caller, databases))
    return tagged(given, found.model_dump_json(by_alias=True).encode())


@router.patch("/{name}", openapi_extra=reach("gateway"), responses=problems(401, 403, 404, 422))
async def change(name: Name, body: GatewayChange, caller: CallerIs, databases: DatabasesAre) -> Recorded[Gateway]:
    """Give it into the care of another region's operators. Its meters stay where they are."""
    async with admin(databases, caller) as domain:
        await domain.run(_QUERIES["region_set"], {"name": name, "region": body.region})
    return recorded("Changed.", await _one(name, caller, databases), now=caller.now)


@router.post(
    "/{name}/disable", openapi_extra=reach("gateway", operator="region"), responses=problems(401, 403, 404, 422)
)
async def disable(name: Name, caller: CallerIs, databases: DatabasesAre) -> Recorded[Gateway]:
    """Accept nothing from it any more. It keeps its readings and its keys."""
    return await _enable(name, False, caller, databases)


@router.post(
    "/{name}/enable", openapi_extra=reach("gateway", operator="region"), responses=problems(401, 403, 404, 422)
)
async def enable(name: Name, caller: CallerIs, databases: DatabasesAre) -> Recorded[Gateway]:
    """Accept what it delivers."""
    return await _enable(name, True, caller, databases)


@router.get("/{name}/keys", openapi_extra=reach("gateway", operator="region"), responses=problems(401, 403, 404, 422))
async def keys(name: Name, caller: CallerIs, databases: DatabasesAre) -> Success[list[Key]]:
    """Keys that it has and had."""
    async with staff(databases, caller, "gateways", details={"gateway": name}) as domain:
        rows = await domain.rows(_QUERIES["keys"], {"name": name})
    return Success(message="Keys.", data=[Key.model_validate(row) for row in rows])


@router.post(
    "/{name}/keys",
    openapi_extra=reach("gateway", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 422, *ONCE),
)
async def key_add(
    name: Name, caller: CallerIs, databases: DatabasesAre, response: Response, once: OnceIs
) -> Recorded[NewKey]:
    """Another key. Those that it has stay valid until they are revoked: so a key is changed without a gap. Put the new
    one into place, wait for a batch after meta.in_step_by, then revoke the old one."""
    response.headers["cache-control"] = "no-store"
    async with staff(databases, caller, "gateways", details={"gateway": name}) as domain:

        async def work() -> Recorded[NewKey]:
            secret = Secret.generate()
            wanted = {"name": name, "key_hash": secret.digest, "now": caller.now}
            return _shown(name, await domain.value(_QUERIES["key_add"], wanted), secret, caller)

        return await once.answer(domain, Recorded[NewKey], work)


@router.delete(
    "/{name}/keys/{key_id}",
    openapi_extra=reach("gateway", operator="region"),
    responses=problems(401, 403, 404, 409, 422),
)
async def key_end(
    name: Name,
    key_id: Annotated[int, Path(ge=1, lt=2**31, description="Number of the key.")],
    how: Annotated[Revoking, Query()],
    caller: CallerIs,
    databases: DatabasesAre,
) -> Recorded[list[Key]]:
    """Revoke a key; the last one only if that is said."""
    async with staff(databases, caller, "gateways", details={"gateway": name}) as domain:
        await domain.run(_QUERIES["key_end"], {"name": name, "key_id": key_id, "last": how.last, "now": caller.now})
        rows = await domain.rows(_QUERIES["keys"], {"name": name})
    return recorded("Revoked.", [Key.model_validate(row) for row in rows], now=caller.now)


def _shown(name: str, key_id: int, secret: Secret, caller: Caller) -> Recorded[NewKey]:
    shown = NewKey(name=name, key_id=key_id, key=secret.text)
    return recorded("Keep the key: it is in no other answer.", shown, now=caller.now)


async def _enable(name: str, enabled: bool, caller: Caller, databases: Databases) -> Recorded[Gateway]:
    async with staff(databases, caller, "gateways", details={"gateway": name}) as domain:
        await domain.run(_QUERIES["enable"], {"name": name, "enabled": enabled, "now": caller.now})
    told = "Enabled." if enabled else "Disabled."
    return recorded(told, await _one(name, caller, databases), now=caller.now)


async def _one(name: str, caller: Caller, databases: Databases) -> Gateway:
    async with staff(databases, caller, "gateways", details={"gateway": name}) as domain:
        row = await domain.row(_QUERIES["gateway"], {"name": name})
    if row is None:
        raise NotFound(f"there is no gateway {name}")
    [found] = await _doing(databases, [row], caller.now)
    return found


async def _doing(databases: Databases, rows: Sequence[Row], now: datetime) -> list[Gateway]:
    numbers = [row["gateway_id"] for row in rows]
    async with databases.telemetry({"gateways": numbers}) as telemetry:
        heard = {
            row["gateway_id"]: Heard(**row) for row in await telemetry.rows(_READS["gateways"], {"gateways": numbers})
        }
    return [_gateway(row, heard.get(row["gateway_id"]), now) for row in rows]


def _gateway(row: Row, heard: Heard | None, now: datetime) -> Gateway:
    registered = Registered(**{name: row[name] for name in ("gateway_id", "name", "keys", "devices")})
    heard = heard or Heard(gateway_id=registered.gateway_id)
    report = None if heard.report is None else msgspec.convert(heard.report, Report)
    said: dict[str, Any] = Known(registered=registered, heard=heard, report=report, now=now).summary()
    return Gateway.model_validate(
        {**said, **row, "enabled": row["disabled_at"] is None, "clock_ahead_s": heard.clock_ahead_s}
    )
