"""Where the caller is logged in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from cloud.api.access import SELF
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Done, Success, problems
from cloud.api.http.errors import NotFound
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/auth/sessions", tags=["auth"])
_QUERIES = Queries("session")


class Session(BaseModel):
    """A login, and the tokens that descend from it."""

    session_id: Annotated[UUID, Field(description="Name of the session.")]
    current: Annotated[bool, Field(description="Whether this request belongs to it.")]
    created_at: Annotated[datetime, Field(description="When it began.")]
    used_at: Annotated[datetime, Field(description="When its tokens were refreshed last.")]
    expires_at: Annotated[datetime, Field(description="Until when they can be.")]
    user_agent: Annotated[str | None, Field(description="Browser or program, as it named itself.")]
    address: Annotated[str | None, Field(description="Address that it asked from.")]


@router.get("", openapi_extra=SELF, responses=problems(401))
async def sessions(caller: CallerIs, databases: DatabasesAre) -> Success[list[Session]]:
    """The caller's sessions, at most 100, the latest first."""
    async with databases.domain(caller, limited=True) as domain:
        rows = await domain.rows(_QUERIES["sessions"], {"now": caller.now})
    shown = [Session(current=row["session_id"] == caller.family_id, **row) for row in rows]
    return Success(message="Your sessions.", data=shown)


@router.delete("/{session_id}", openapi_extra=SELF, responses=problems(401, 404, 422))
async def revoke(
    session_id: Annotated[UUID, Path(description="Name of the session.")], caller: CallerIs, databases: DatabasesAre
) -> Success[Done]:
    """End one of them; its tokens are refused from now on."""
    async with databases.domain(caller, limited=True) as domain:
        ended = await domain.value(_QUERIES["session_revoke"], {"family_id": session_id, "now": caller.now})
    if not ended:
        raise NotFound(f"there is no session {session_id}")
    return Success(message="Ended.", data=Done(message="That session is over."))
