"""Alerts: what rules found wrong with meters, gateways, sites and regions, and what became of it."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field, model_validator

from cloud.api.access import reach
from cloud.api.alerts.forms import Alert, AlertDetails, AlertEvent, AlertId, Category, RuleName, Severity, State
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Transaction
from cloud.api.http.envelope import Success, problems
from cloud.api.http.errors import NotFound
from cloud.api.http.fields import GatewayName, Instant, Region, Words, printable
from cloud.api.http.paging import Paging, page
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
_QUERIES = Queries("api_alerts")
_ANY: dict[str, Any] = dict.fromkeys(
    (
        "state",
        "open",
        "acknowledged",
        "severity",
        "rule",
        "category",
        "region",
        "site",
        "gateway",
        "meter",
        "from",
        "to",
    )
)


class Listing(Paging):
    """Which alerts; all that are given must hold."""

    state: Annotated[State | None, Field(description="Only those in this state.")] = None
    open: Annotated[bool | None, Field(description="Only those that are not resolved, or only those that are.")] = None
    acknowledged: Annotated[
        bool | None, Field(description="Only those that somebody took on, or only those that nobody did.")
    ] = None
    severity: Annotated[Severity | None, Field(description="Only those that are at least so bad.")] = None
    rule: Annotated[RuleName | None, Field(description="Only those of this rule.")] = None
    category: Annotated[Category | None, Field(description="Only those about this.")] = None
    region: Annotated[Region | None, Field(description="Only those of what is there now.")] = None
    site: Annotated[Words | None, Field(description="Only those of this site and its meters.")] = None
    gateway: Annotated[GatewayName | None, Field(description="Only those of it and of what it reads now.")] = None
    meter: Annotated[
        str | None,
        Field(max_length=40, description="Only those of the meter with this code."),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None
    since: Annotated[Instant | None, Field(alias="from", description="Only those that began then or later.")] = None
    until: Annotated[Instant | None, Field(alias="to", description="Only those that began before.")] = None

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("from is not before to")
        return self

    @property
    def wanted(self) -> dict[str, Any]:
        """By the names of the statement, without the page."""
        given = self.model_dump(exclude={"cursor", "limit", "since", "until"})
        return given | {"from": self.since, "to": self.until}


@router.get("", openapi_extra=reach("alert", user="own", operator="region"), responses=problems(401, 404, 422))
async def alerts(
    listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[list[Alert]]:
    """Alerts, the newest first. Customers see those of their meters, but for what may be somebody's doing."""
    wanted = listing.wanted
    async with databases.domain(caller) as domain:
        await domain.look("alerts", details=wanted)
        for name, known in (await domain.row(_QUERIES["named"], wanted) or {}).items():
            if not known:
                raise NotFound(f"there is no {name} {wanted[name]}", where=f"query.{name}")
        asked = wanted | {"after": listing.after, "limit": listing.limit, "alert": None}
        shown, meta = page(await domain.rows(_QUERIES["page"], asked), limit=listing.limit, key="alert_id")
        await domain.found("alerts", sorted({row["meter_id"] for row in shown if row["meter_id"] is not None}))
    return Success(message="Alerts.", data=[Alert.model_validate(row) for row in shown], meta=meta)


@router.get(
    "/{alert_id}", openapi_extra=reach("alert", user="own", operator="region"), responses=problems(401, 404, 422)
)
async def alert(alert_id: AlertId, caller: CallerIs, databases: DatabasesAre) -> Success[AlertDetails]:
    """One alert, and what became of it."""
    async with databases.domain(caller) as domain:
        found = await whole(domain, alert_id)
    return Success(message="An alert.", data=found)


async def whole(domain: Transaction, alert_id: int) -> AlertDetails:
    """The alert, as the caller sees it; of an operator or admin it is written down. Raises NotFound."""
    if domain.role != "USER":
        await domain.row(_QUERIES["look"], {"what": "alerts", "alerts": [alert_id]})
    found = await domain.row(_QUERIES["page"], _ANY | {"after": 0, "limit": 1, "alert": alert_id})
    if found is None:
        raise NotFound(f"there is no alert {alert_id}")
    events = await domain.rows(_QUERIES["events"], {"alert": alert_id})
    return AlertDetails.model_validate(found | {"events": [AlertEvent.model_validate(row) for row in events]})
