"""A meter comes to a customer by a code that its operator gave them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, SecretStr

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.errors import CodeRefused, Problem, TooMany
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.registry.meters import Code, Meter, seen
from cloud.api.registry.staff import staff
from cloud.db.queries import Queries
from cloud.identity import claims, tokens

router = APIRouter(prefix="/api/v1/meters", tags=["meters"])
_QUERIES = Queries("api_meters")


class Taken(Problem):
    """The code is right, and the meter is somebody's still."""

    status, problem = 409, "meter-taken"


class Issue(Body):
    """How long a code is to be good."""

    days: Annotated[int, Field(ge=1, le=90, description="Until when it can be used, days from now.")] = 30


class Claim(BaseModel):
    """A code that was made for a meter; what it is, nobody knows any more."""

    claim_id: Annotated[int, Field(description="Number of the code.")]
    issued_by: Annotated[int, Field(description="Number of the operator or admin who had it made.")]
    created_at: Annotated[datetime, Field(description="When it was made.")]
    expires_at: Annotated[datetime, Field(description="Until when it is good.")]
    used_at: Annotated[datetime | None, Field(description="When the meter was taken by it.")]
    used_by: Annotated[int | None, Field(description="Number of the customer who took the meter.")]
    revoked_at: Annotated[datetime | None, Field(description="When it was withdrawn or replaced.")]


class Issued(BaseModel):
    """A code, for its customer alone."""

    claim_id: Annotated[int, Field(description="Number of the code.")]
    code: Annotated[str, Field(description="The code. It is shown in this answer and in no other.")]
    expires_at: Annotated[datetime, Field(description="Until when it is good.")]


class Claiming(Body):
    """A code."""

    claim_code: Annotated[
        SecretStr,
        Field(
            min_length=16, max_length=40, description="From the operator's letter; hyphens and small letters may be."
        ),
    ]


@router.get("/{code}/claims", openapi_extra=reach("meter", operator="region"), responses=problems(401, 403, 404, 422))
async def issued(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[list[Claim]]:
    """The newest 100 codes that were made for a meter."""
    async with staff(databases, caller, "meters", code=code) as domain:
        await seen(domain, code)
        rows = await domain.rows(_QUERIES["claims"], {"code": code})
    return Success(message="Codes.", data=[Claim.model_validate(row) for row in rows])


@router.post(
    "/{code}/claims",
    openapi_extra=reach("meter", operator="region"),
    status_code=201,
    responses=problems(401, 403, 404, 422, *ONCE),
)
async def issue(
    code: Code, body: Issue, caller: CallerIs, databases: DatabasesAre, response: Response, once: OnceIs
) -> Success[Issued]:
    """Make a code by which one customer may take the meter, once. The code before is good for nothing any more."""
    response.headers["cache-control"] = "no-store"
    async with staff(databases, caller, "meters", code=code) as domain:

        async def work() -> Success[Issued]:
            secret = claims.generate()
            hashed = tokens.digest(claims.normal(secret))
            wanted = {"code": code, "code_hash": hashed, "days": body.days, "now": caller.now}
            made = await domain.row(_QUERIES["claim_issue"], wanted)
            issued = Issued.model_validate({**(made or {}), "code": secret})
            return Success(message="Keep it: it is in no other answer.", data=issued)

        return await once.answer(domain, Success[Issued], work)


@router.delete(
    "/{code}/claims", openapi_extra=reach("meter", operator="region"), responses=problems(401, 403, 404, 422)
)
async def withdraw(code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[Done]:
    """No code is good for the meter any more."""
    async with staff(databases, caller, "meters", code=code) as domain:
        await domain.run(_QUERIES["claim_withdraw"], {"code": code, "now": caller.now})
    return Success(message="Withdrawn.", data=Done(message="No code is good for this meter."))


@router.post(
    "/claim",
    openapi_extra=reach(user="own", operator="none", admin="none"),
    responses=problems(401, 403, CodeRefused, Taken, 422, 429, *ONCE),
)
async def claim(body: Claiming, caller: CallerIs, databases: DatabasesAre, once: OnceIs) -> Success[Meter]:
    """Take a meter by its code: from now on it is the caller's, who sees nothing of what it measured before. At most 5
    attempts an hour. A meter that is somebody's still is not taken from them; the code stays good."""
    given = tokens.digest(claims.normal(body.claim_code.get_secret_value()))
    async with databases.domain(caller) as domain:
        mine = await once.kept(domain, Success[Meter])
        if mine is not None:
            return mine
        answer = await domain.row(_QUERIES["claim"], {"code_hash": given, "now": caller.now})
        assert answer is not None
        if answer["outcome"] in {"right", "own"}:
            mine = Success(message="It is yours.", data=await seen(domain, answer["code"]))
            # What was refused ends its transaction as well, which counts the attempt, and may be tried again.
            await once.keep(domain, mine)
    if answer["outcome"] == "limited":
        raise TooMany("too many codes were tried", retry_after_s=answer["retry_after_s"])
    if answer["outcome"] == "taken":
        raise Taken(
            "this meter is somebody's still; whoever gave you the code ends that first", where="body.claim_code"
        )
    if mine is None:
        raise CodeRefused("the code is wrong, used or too old; ask for another", where="body.claim_code")
    return mine
