"""The caller's own account."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.access import SELF
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.fields import Name, Phone
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/users", tags=["users"])
_QUERIES = Queries("people")


class User(BaseModel):
    """An account."""

    user_id: Annotated[int, Field(description="Number of the account.")]
    email: Annotated[str, Field(description="Address that it logs in with.")]
    name: Annotated[str, Field(description="Name for letters and bills.")]
    phone: Annotated[str | None, Field(description="E.164 number.")]
    region: Annotated[str | None, Field(description="Where the user said to live; prices go by the meter's region.")]
    role: Annotated[Literal["USER", "OPERATOR", "ADMIN"], Field(description="What the account may do.")]
    email_verified: Annotated[bool, Field(description="Whether the address is proven.")]
    created_at: Annotated[datetime, Field(description="When it was made.")]
    updated_at: Annotated[datetime, Field(description="When it changed last.")]


class UserChange(Body):
    """What is left out stays. Address, region, role and password are not changed here."""

    name: Name | None = None
    phone: Phone | None = None


@router.get("/me", openapi_extra=SELF, responses=problems(401))
async def me(caller: CallerIs, databases: DatabasesAre) -> Success[User]:
    """The caller's account."""
    async with databases.domain(caller) as domain:
        found = await domain.row(_QUERIES["me"])
    return Success(message="Your account.", data=User.model_validate(found))


@router.patch("/me", openapi_extra=SELF, responses=problems(401, 422))
async def change_me(body: UserChange, caller: CallerIs, databases: DatabasesAre) -> Success[User]:
    """Change name or phone number; a phone number of null goes."""
    wanted = {"name": body.name, "phone": body.phone, "has_phone": "phone" in body.model_fields_set}
    async with databases.domain(caller) as domain:
        found = await domain.row(_QUERIES["change_me"], wanted)
    return Success(message="Changed.", data=User.model_validate(found))
