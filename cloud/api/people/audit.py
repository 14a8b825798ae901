"""The audit log, for admins: who changed what, and who looked at what of others."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Success, problems
from cloud.api.http.fields import printable
from cloud.api.http.paging import Paging, page
from cloud.api.registry.staff import admin
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
_QUERIES = Queries("audit")
_Key = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)]
_Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class AuditEntry(BaseModel):
    """A row that was changed, or a look at somebody else's data."""

    audit_id: Annotated[int, Field(description="Number of the entry, in the order of the changes.")]
    occurred_at: Annotated[datetime, Field(description="When it happened.")]
    actor: Annotated[str, Field(description="Who did it: user:17, a command's operator, or a database role.")]
    database_role: Annotated[str, Field(description="Role that the database session logged in as.")]
    request_id: Annotated[str | None, Field(description="The request; null for what was done otherwise.")]
    action: Annotated[Literal["INSERT", "UPDATE", "DELETE", "READ"], Field(description="What was done.")]
    table_name: Annotated[str, Field(description="Table of the row; for READ what was looked at.")]
    row_key: Annotated[str, Field(description="Key of the row; for READ the meter or user, * for several.")]
    old: Annotated[
        dict[str, Any] | None,
        Field(description="The row before, without secrets; [erased] is what was personal of who has left."),
    ]
    new: Annotated[dict[str, Any] | None, Field(description="The row after, likewise; what a READ asked for.")]
    subjects: Annotated[
        list[int] | None, Field(description="Numbers of the users at whose data a READ looked.", examples=[[17]])
    ]
    meters: Annotated[
        list[int] | None, Field(description="Numbers of the meters at which a READ looked.", examples=[[1]])
    ]


class Listing(Paging):
    """Which entries; all that are given must hold."""

    actor: Annotated[_Key | None, Field(description="Who did it.", examples=["user:17"])] = None
    action: Annotated[Literal["INSERT", "UPDATE", "DELETE", "READ"] | None, Field(description="What was done.")] = None
    table: Annotated[_Key | None, Field(description="Table of the row, or what was looked at.")] = None
    row: Annotated[_Key | None, Field(description="Key of the row.")] = None
    request: Annotated[_Key | None, Field(description="The request's X-Request-Id.", examples=["6d1f0b3c9a7e4c52"])] = (
        None
    )
    subject: Annotated[_Number | None, Field(description="Looks at the data of the user with this number.")] = None
    meter: Annotated[_Number | None, Field(description="Looks at the data of the meter with this number.")] = None
    since: Annotated[AwareDatetime | None, Field(alias="from", description="From this time on.")] = None
    until: Annotated[AwareDatetime | None, Field(alias="to", description="Before this time.")] = None


@router.get("", openapi_extra=reach(), responses=problems(401, 403, 422))
async def entries(
    listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[AuditEntry]]:
    """The log, newest first. Reading it is in it too."""
    wanted = {
        "before": listing.after or None,
        "limit": listing.limit,
        "from": listing.since,
        "to": listing.until,
        **{name: getattr(listing, name) for name in ("actor", "action", "table", "row", "request", "subject", "meter")},
    }
    async with admin(databases, caller) as domain:
        await domain.look("audit", details=wanted)
        rows = await domain.rows(_QUERIES["page"], wanted)
    shown, meta = page(rows, limit=listing.limit, key="audit_id")
    return Success(message="The audit log.", data=[AuditEntry.model_validate(row) for row in shown], meta=meta)
