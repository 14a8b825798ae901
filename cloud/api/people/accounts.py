"""Other people's accounts, for operators and admins; and how somebody leaves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, Field, StringConstraints

from cloud.api.access import SELF, reach
from cloud.api.caller import Address, CallerIs, DatabasesAre, PartsAre
from cloud.api.database import Caller, Databases
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.errors import Forbidden, NotFound
from cloud.api.http.fields import Region, printable
from cloud.api.http.paging import Paging, page
from cloud.api.people.proof import PROVEN, Proof, prove
from cloud.api.people.users import User
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/users", tags=["users"])
_QUERIES = Queries("people")
_LEFT = "The account is gone. Bills stay, without a name."

RoleName = Literal["USER", "OPERATOR", "ADMIN"]
UserId = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the account.")]


class Account(User):
    """An account, as those see it who look after it."""

    suspended_at: Annotated[datetime | None, Field(description="Since when it may not log in; null while it may.")]
    regions: Annotated[
        list[str], Field(description="What an operator looks after; to be seen by admins.", examples=[["north"]])
    ]


class Listing(Paging):
    """Which accounts."""

    role: Annotated[RoleName | None, Field(description="Only those of this role.")] = None
    region: Annotated[Region | None, Field(description="Only those who said to live there.")] = None
    suspended: Annotated[bool | None, Field(description="Only those who are, or are not.")] = None
    search: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(printable)] | None,
        Field(description="Only those with this in name or address; upper and lower case are the same."),
    ] = None


class Role(Body):
    """What an account may do."""

    role: Annotated[RoleName, Field(description="USER sees own meters, OPERATOR the regions given, ADMIN all.")]


class Regions(Body):
    """What an operator looks after."""

    regions: Annotated[list[Region], Field(max_length=200, description="These, and no others.", examples=[["north"]])]


@router.get("", openapi_extra=reach("user", operator="region"), responses=problems(401, 403, 422))
async def accounts(
    listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Account]]:
    """Accounts: of an operator, the customers who said to live in their regions; of an admin, all."""
    wanted = listing.model_dump(include={"limit", "role", "region", "suspended", "search"}) | {"after": listing.after}
    async with databases.domain(caller) as domain:
        if domain.role == "USER":
            raise Forbidden("accounts are for operators and admins")
        # Names and addresses are not for the log, which never forgets; it has who was found.
        await domain.look("users", details=wanted | {"search": None if listing.search is None else "[withheld]"})
        rows = await domain.rows(_QUERIES["accounts"], wanted)
        shown, meta = page(rows, limit=listing.limit, key="user_id")
        if shown:
            found = [row["user_id"] for row in shown]
            await domain.value(_QUERIES["look_accounts"], {"users": found, "details": '{"found": true}'})
    return Success(message="Accounts.", data=[Account.model_validate(row) for row in shown], meta=meta)


@router.get(
    "/{user_id:int}", openapi_extra=reach("user", user="own", operator="region"), responses=problems(401, 404, 422)
)
async def account(user_id: UserId, caller: CallerIs, databases: DatabasesAre) -> Success[Account]:
    """One account. What the caller may not see is as absent as what does not exist."""
    return Success(message="An account.", data=await _account(databases, caller, user_id))


@router.put("/{user_id:int}/role", openapi_extra=reach("user"), responses=problems(401, 403, 404, 409, 422))
async def set_role(user_id: UserId, body: Role, caller: CallerIs, databases: DatabasesAre) -> Success[Account]:
    """Give another role, as an admin. Sessions end at once; they log in anew."""
    changed = {"user_id": user_id, "role": body.role, "now": caller.now}
    return Success(message="Changed.", data=await _account(databases, caller, user_id, "account_role", changed))


@router.put("/{user_id:int}/regions", openapi_extra=reach("user"), responses=problems(401, 403, 404, 409, 422))
async def set_regions(user_id: UserId, body: Regions, caller: CallerIs, databases: DatabasesAre) -> Success[Account]:
    """Say which regions an operator looks after, as an admin. It counts from the next request on."""
    changed = {"user_id": user_id, "regions": body.regions, "now": caller.now}
    return Success(message="Changed.", data=await _account(databases, caller, user_id, "account_regions", changed))


@router.post("/{user_id:int}/suspend", openapi_extra=reach("user"), responses=problems(401, 403, 404, 409, 422))
async def suspend(user_id: UserId, caller: CallerIs, databases: DatabasesAre) -> Success[Account]:
    """End all sessions of an account, which may not log in again, as an admin."""
    changed = {"user_id": user_id, "suspended": True, "now": caller.now}
    return Success(message="Suspended.", data=await _account(databases, caller, user_id, "account_suspend", changed))


@router.post("/{user_id:int}/resume", openapi_extra=reach("user"), responses=problems(401, 403, 404, 409, 422))
async def resume(user_id: UserId, caller: CallerIs, databases: DatabasesAre) -> Success[Account]:
    """Let a suspended account log in again, as an admin."""
    changed = {"user_id": user_id, "suspended": False, "now": caller.now}
    return Success(message="Resumed.", data=await _account(databases, caller, user_id, "account_suspend", changed))


@router.post("/me/delete", openapi_extra=SELF, responses=problems(401, 409, 422, 429, *PROVEN))
async def leave(
    body: Proof, caller: CallerIs, databases: DatabasesAre, parts: PartsAre, address: Address
) -> Success[Done]:
    """Delete the caller's account: name, address, phone and sessions go, meters are nobody's. What was billed and what
    was measured stays, as the law wants, and no longer says whose it was. The address may register anew."""
    await prove(databases, parts, caller, body, address)
    async with databases.domain(caller, limited=True) as domain:
        await domain.value(_QUERIES["account_delete"], {"user_id": caller.access.user_id, "now": caller.now})
    return Success(message="Deleted.", data=Done(message=_LEFT))


@router.delete("/{user_id:int}", openapi_extra=reach("user"), responses=problems(401, 403, 404, 409, 422))
async def delete(user_id: UserId, caller: CallerIs, databases: DatabasesAre) -> Success[Done]:
    """The same for somebody else, as an admin."""
    async with databases.domain(caller) as domain:
        if domain.role != "ADMIN" or user_id == caller.access.user_id:
            raise Forbidden("admins delete accounts of others; one's own goes by me/delete")
        await domain.value(_QUERIES["account_delete"], {"user_id": user_id, "now": caller.now})
    return Success(message="Deleted.", data=Done(message=_LEFT))


async def _account(
    databases: Databases,
    caller: Caller,
    user_id: int,
    change: str | None = None,
    changed: Mapping[str, object] | None = None,
) -> Account:
    """The account, after the change. Raises NotFound."""
    async with databases.domain(caller) as domain:
        if change is not None:
            await domain.value(_QUERIES[change], changed)
        if domain.role != "USER":
            await domain.value(_QUERIES["look_accounts"], {"users": [user_id], "details": "{}"})
        found = await domain.row(_QUERIES["account"], {"user_id": user_id})
    if found is None:
        raise NotFound(f"there is no user {user_id}")
    return Account.model_validate(found)
