"""What people do about alerts: take them on, say something to them, close them."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.access import reach
from cloud.api.alerts.alerts import whole
from cloud.api.alerts.forms import AlertDetails, AlertId, Said
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Caller, Databases
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import Forbidden, NotFound
from cloud.api.http.idempotency import ONCE, Once, OnceIs
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
_QUERIES = Queries("api_alerts")
_STAFF = "this is for operators and admins"
Action = Literal["acknowledge", "close"]
Note = Annotated[Said | None, Field(description="What there is to say to it; who sees the alert reads it.")]


class Noting(Body):
    """What goes with it."""

    note: Note = None


class Commenting(Body):
    """What is said to an alert."""

    text: Annotated[Said, Field(description="Who sees the alert reads it.")]


class Acting(Body):
    """What is done about many alerts."""

    action: Annotated[Action, Field(description="Take them on, or close them.", examples=["acknowledge"])]
    alerts: Annotated[
        list[Annotated[int, Field(ge=1, le=2**63 - 1)]],
        Field(min_length=1, max_length=500, description="Numbers of alerts.", examples=[[17, 18]]),
    ]
    note: Note = None


class Outcome(BaseModel):
    """What became of one of them."""

    alert_id: Annotated[int, Field(description="Its number.")]
    outcome: Annotated[
        Literal["done", "already", "absent"],
        Field(description="already: somebody did so before, or it was over; absent: there is none for the caller."),
    ]


@router.post("/actions", openapi_extra=reach("alert", operator="region"), responses=problems(401, 403, 422, *ONCE))
async def act(body: Acting, caller: CallerIs, databases: DatabasesAre, once: OnceIs) -> Success[list[Outcome]]:
    """Take on, or close, up to 500 alerts at once, and hear what became of each. For operators and admins."""
    async with databases.domain(caller) as domain:
        if domain.role == "USER":
            raise Forbidden(_STAFF)

        async def work() -> Success[list[Outcome]]:
            wanted = {**body.model_dump(), "now": caller.now}
            outcomes = [Outcome.model_validate(row) for row in await domain.rows(_QUERIES["act"], wanted)]
            done = sum(one.outcome == "done" for one in outcomes)
            return Success(message=f"Done for {done} of {len(outcomes)}.", data=outcomes)

        return await once.answer(domain, Success[list[Outcome]], work)


@router.post(
    "/{alert_id}/acknowledge",
    openapi_extra=reach("alert", operator="region"),
    responses=problems(401, 403, 404, 422, *ONCE),
)
async def acknowledge(
    alert_id: AlertId, body: Noting, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[AlertDetails]:
    """Take an alert on: it is not told again for want of somebody. One that somebody took on stays theirs; a note is a
    comment then."""
    told = {"done": "It is yours.", "already": "Somebody took it on already, or it is over."}
    return await _done(databases, caller, once, alert_id, "acknowledge", body.note, told)


@router.post(
    "/{alert_id}/close",
    openapi_extra=reach("alert", operator="region"),
    responses=problems(401, 403, 404, 422, *ONCE),
)
async def close(
    alert_id: AlertId, body: Noting, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[AlertDetails]:
    """Resolve an alert by hand. It does not open anew until what it is about was over once, or gets worse. If it was
    over already, a note is a comment."""
    told = {"done": "It is closed.", "already": "It was over already."}
    return await _done(databases, caller, once, alert_id, "close", body.note, told)


@router.post(
    "/{alert_id}/comments",
    openapi_extra=reach("alert", user="own", operator="region"),
    status_code=201,
    responses=problems(401, 404, 422, *ONCE),
)
async def comment(
    alert_id: AlertId, body: Commenting, caller: CallerIs, databases: DatabasesAre, once: OnceIs
) -> Success[AlertDetails]:
    """Say something to an alert."""
    async with databases.domain(caller) as domain:

        async def work() -> Success[AlertDetails]:
            await domain.run(_QUERIES["comment"], {"alert": alert_id, "text": body.text, "now": caller.now})
            return Success(message="It is said.", data=await whole(domain, alert_id))

        return await once.answer(domain, Success[AlertDetails], work)


async def _done(
    databases: Databases,
    caller: Caller,
    once: Once,
    alert_id: int,
    action: Action,
    note: str | None,
    told: dict[str, str],
) -> Success[AlertDetails]:
    """One alert after it; `told` has a sentence for each outcome."""
    async with databases.domain(caller) as domain:
        if domain.role == "USER":
            raise Forbidden(_STAFF)

        async def work() -> Success[AlertDetails]:
            wanted = {"action": action, "alerts": [alert_id], "note": note, "now": caller.now}
            [row] = await domain.rows(_QUERIES["act"], wanted)
            if row["outcome"] == "absent":
                raise NotFound(f"there is no alert {alert_id}")
            return Success(message=told[row["outcome"]], data=await whole(domain, alert_id))

        return await once.answer(domain, Success[AlertDetails], work)
