"""Where a meter is and whose, exchanges of it and its registers: all by time, and nothing of before is overwritten."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Caller, Databases, Row, Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import NotFound, Problem
from cloud.api.http.fields import Instant, Region, WattHours, Words, Zone
from cloud.api.http.idempotency import ONCE, Once, OnceIs
from cloud.api.registry.meters import Code, Meter, Model, Modulus, Resets, Serial, seen
from cloud.api.registry.recorded import Recorded, recorded
from cloud.api.registry.staff import staff
from cloud.db.queries import Queries
from cloud.instant import written
from cloud.meters.exchange import contradictions
from cloud.meters.show import QUANTITIES

router = APIRouter(prefix="/api/v1/meters", tags=["meters"])
_QUERIES = Queries("api_meters")
# As `segs-cloud meter` does it: the same functions.
_DONE = Queries("meter")
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
From = Annotated[Instant | None, Field(alias="from", description="Since when; now where it is left out.")]
Reason = Annotated[Words, Field(description="Why; it is kept.")]


class Contradicted(Problem):
    """What people read off displays cannot be, by the readings around it."""

    status, problem = 409, "contradicted-by-readings"


class Span(BaseModel):
    """Half-open."""

    from_: Annotated[datetime | None, Field(alias="from", description="Since when; null for always.")]
    to: Annotated[datetime | None, Field(description="Until when; null for no end.")]


class Place(Span):
    """Where a meter is in a span of time."""

    region: Annotated[str, Field(description="Region that it counts in and is priced by.")]
    timezone: Annotated[str, Field(description="IANA zone of its days and bills.")]


class Owner(Span):
    """Whose a meter is in a span of time."""

    user_id: Annotated[int, Field(description="The user.")]
    name: Annotated[str | None, Field(description="Their name; null where the caller does not see the user.")]


class Exchange(BaseModel):
    """Another meter at the same place."""

    at: Annotated[datetime, Field(description="A reading of this instant is one of the new meter.")]
    old_model: Annotated[str | None, Field(description="Model of the meter that was taken away.")]
    old_serial: Annotated[str | None, Field(description="Its serial number.")]
    new_model: Annotated[str | None, Field(description="Model of the meter that was put in.")]
    new_serial: Annotated[str | None, Field(description="Its serial number.")]
    final_import_wh: Annotated[int | None, Field(description="Last read of the old import register, Wh.")]
    final_export_wh: Annotated[int | None, Field(description="Last read of the old export register, Wh.")]
    first_import_wh: Annotated[int | None, Field(description="First read of the new import register, Wh.")]
    first_export_wh: Annotated[int | None, Field(description="First read of the new export register, Wh.")]
    despite: Annotated[str | None, Field(description="Why it was recorded although readings contradict it.")]
    revoked_at: Annotated[datetime | None, Field(description="When it was said that it never happened.")]
    revoked_reason: Annotated[str | None, Field(description="Why.")]


class Move(Body):
    """Where a meter is from then on."""

    region: Region
    timezone: Annotated[Zone | None, Field(description="IANA zone of its days and bills; else the region's.")] = None
    from_: From = None


class Giving(Body):
    """Whose a meter is from then on."""

    user_id: Annotated[int, Field(ge=1, lt=2**31, description="A customer whom the caller sees.")]
    from_: From = None


class Ending(Body):
    """When a meter ceases to be somebody's."""

    from_: From = None


class NewExchange(Body):
    """What was done at the place, and read off both displays; what nobody read is left out."""

    serial: Serial
    model: Annotated[Model | None, Field(description="Model of the new meter, if it is another one.")] = None
    at: Annotated[Instant | None, Field(description="When; now where it is left out.")] = None
    final_import_wh: Annotated[WattHours | None, Field(description="Last read of the old import register, Wh.")] = None
    final_export_wh: Annotated[WattHours | None, Field(description="Last read of the old export register, Wh.")] = None
    first_import_wh: Annotated[WattHours | None, Field(description="First read of the new import register, Wh.")] = None
    first_export_wh: Annotated[WattHours | None, Field(description="First read of the new export register, Wh.")] = None
    despite_readings: Annotated[
        Words | None, Field(description="Why it is true although readings contradict it; kept only if they do.")
    ] = None


class Revocation(Body):
    """An exchange that never happened."""

    at: Annotated[Instant, Field(description="The exchange's own time.")]
    reason: Reason


class Registers(Body):
    """How registers behave; what is left out stays."""

    rollover_wh: Modulus | None = None
    resets: Resets | None = None


@router.get(
    "/{code}/locations", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422)
)
async def locations(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[list[Place]]:
    """Where it was, is and will be; of a customer, while it is theirs."""
    async with databases.domain(caller) as domain:
        await seen(domain, code)
        places = await _all(domain, "locations", code, Place)
    return Success(message="Places.", data=places)


@router.post(
    "/{code}/move", openapi_extra=reach("meter", operator="region"), responses=problems(401, 403, 404, 409, 422, *ONCE)
)
async def move(
    code: Code, body: Move, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Recorded[list[Place]]:
    """It is in another region or zone from then on, until a move that is planned for later. What was before stays."""
    wanted = {"code": code, "region": body.region, "timezone": body.timezone, "from": body.from_ or caller.now}
    async with staff(databases, caller, "meters", code=code) as domain:
        await seen(domain, code)

        async def work() -> Recorded[list[Place]]:
            await domain.run(_DONE["move"], wanted | {"now": caller.now})
            return recorded("Moved.", await _all(domain, "locations", code, Place), now=caller.now)

        return await once.answer(domain, Recorded[list[Place]], work)


@router.get(
    "/{code}/owners", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422)
)
async def owners(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[list[Owner]]:
    """Whose it was, is and will be; a customer sees when it was theirs, and of nobody else."""
    async with databases.domain(caller) as domain:
        await seen(domain, code)
        found = await _owners(domain, code)
    return Success(message="Owners.", data=found)


@router.post(
    "/{code}/owners",
    openapi_extra=reach("meter", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def give(
    code: Code, body: Giving, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[list[Owner]]:
    """It is a customer's from then on. What it measured before is for nobody to see but who had it."""
    return await _give(code, body.user_id, body.from_, caller, databases, once, "Given.")


@router.post(
    "/{code}/owners/end",
    openapi_extra=reach("meter", operator="region"),
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def end(
    code: Code, body: Ending, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[list[Owner]]:
    """It is nobody's from then on."""
    return await _give(code, None, body.from_, caller, databases, once, "Ended.")


async def _give(
    code: str, user_id: int | None, since: datetime | None, caller: Caller, databases: Databases, once: Once, told: str
) -> Success[list[Owner]]:
    wanted = {"code": code, "user_id": user_id, "from": since or caller.now, "now": caller.now}
    async with staff(databases, caller, "meters", code=code) as domain:

        async def work() -> Success[list[Owner]]:
            await domain.run(_QUERIES["give"], wanted)
            return Success(message=told, data=await _owners(domain, code))

        return await once.answer(domain, Success[list[Owner]], work)


@router.get(
    "/{code}/exchanges", openapi_extra=reach("meter", user="own", operator="region"), responses=problems(401, 404, 422)
)
async def exchanges(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[list[Exchange]]:
    """Exchanges of it, those that were revoked too; of a customer, while it was theirs."""
    async with databases.domain(caller) as domain:
        await seen(domain, code)
        found = await _all(domain, "exchanges", code, Exchange)
    return Success(message="Exchanges.", data=found)


@router.post(
    "/{code}/exchanges",
    openapi_extra=reach("meter", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 409, Contradicted, 422, *ONCE),
)
async def exchange(
    code: Code, body: NewExchange, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Recorded[list[Exchange]]:
    """Another meter measures from then on: up to the final reads of the old one, from the first of the new. Refused
    where readings around it contradict the reads, unless it is said why they are true."""
    what = body.model_dump(exclude={"despite_readings"}) | {
        "code": code,
        "at": body.at or caller.now,
        "now": caller.now,
    }
    async with staff(databases, caller, "meters", code=code) as domain:
        about = await _readable(domain, code)

        async def work() -> Recorded[list[Exchange]]:
            async with databases.telemetry(about["grants"]) as telemetry:
                reads = await telemetry.rows(_QUERIES["exchange_reads"], {**what, "meter_id": about["meter_id"]})
            against = contradictions(reads)
            await domain.run(_DONE["exchange"], {**what, "despite": body.despite_readings if against else None})
            if against and body.despite_readings is None:
                raise Contradicted(f"nothing was recorded, because readings contradict it: {'; '.join(against)}")
            found = await _all(domain, "exchanges", code, Exchange)
            return recorded("Recorded. Intervals around it are computed anew.", found, now=caller.now)

        return await once.answer(domain, Recorded[list[Exchange]], work)


@router.post(
    "/{code}/exchanges/revoke",
    openapi_extra=reach("meter", operator="region"),
    responses=problems(401, 403, 404, 409, 422, *ONCE),
)
async def revoke(
    code: Code, body: Revocation, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Recorded[list[Exchange]]:
    """An exchange never happened: model and serial number of before hold, and registers go on across that instant."""
    what = {"code": code, "at": body.at, "reason": body.reason, "now": caller.now}
    async with staff(databases, caller, "meters", code=code) as domain:
        await seen(domain, code)

        async def work() -> Recorded[list[Exchange]]:
            await domain.run(_DONE["exchange_revoke"], what)
            found = await _all(domain, "exchanges", code, Exchange)
            return recorded("Revoked. Intervals around it are computed anew.", found, now=caller.now)

        return await once.answer(domain, Recorded[list[Exchange]], work)


@router.put(
    "/{code}/registers",
    openapi_extra=reach("meter", operator="region"),
    responses=problems(401, 403, 404, 409, Contradicted, 422),
)
async def registers(code: Code, body: Registers, caller: CallerIs, databases: DatabasesAre) -> Recorded[Meter]:
    """Say where its registers wrap and whether they may begin again. What is kept of their reads is looked at again."""
    what = {"code": code, "modulus_wh": body.rollover_wh, "resets": body.resets, "now": caller.now}
    async with staff(databases, caller, "meters", code=code) as domain:
        about = await _readable(domain, code)
        async with databases.telemetry(about["grants"]) as telemetry:
            last = await telemetry.rows(_QUERIES["last_reads"], {"meter_id": about["meter_id"]})
        for read in last:
            if body.rollover_wh is not None and read["value"] is not None and read["value"] >= body.rollover_wh:
                raise Contradicted(
                    f"{QUANTITIES[read['register']]} was {read['value']} at {written(read['last_read_at'])}, beyond "
                    f"{body.rollover_wh}; give the number after the largest that its display can show, in Wh",
                    where="body.rollover_wh",
                )
        await domain.run(_DONE["registers"], what)
        found = await seen(domain, code)
    return recorded("Recorded. A worker looks at what is kept of its reads again.", found, now=caller.now)


async def _readable(domain: Transaction, code: str) -> Row:
    found = await domain.row(_QUERIES["readable"], {"code": code})
    if found is None:
        raise NotFound(f"there is no meter {code}")
    return found


async def _owners(domain: Transaction, code: str) -> list[Owner]:
    await domain.look("meters/owners", code=code, span=_ALWAYS)
    return await _all(domain, "owners", code, Owner)


async def _all(domain: Transaction, query: str, code: str, kind: type[BaseModel]) -> list:
    return [kind.model_validate(row) for row in await domain.rows(_QUERIES[query], {"code": code})]
