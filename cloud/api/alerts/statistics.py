"""How many alerts there were, and how long people and the alerts themselves took."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from cloud.api.access import reach
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Success, problems
from cloud.api.http.errors import Malformed
from cloud.api.http.spans import Span
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
_QUERIES = Queries("api_alerts")
_MOST = timedelta(days=366)


class Counted(BaseModel):
    """Alerts that began in the span."""

    alerts: Annotated[int, Field(description="How many.")]
    open: Annotated[int, Field(description="How many of them are not resolved.")]
    acknowledged: Annotated[int, Field(description="How many of them somebody took on.")]
    mean_acknowledge_s: Annotated[
        float | None, Field(description="From firing until somebody took it on, on average, s; null where nobody did.")
    ]
    mean_resolve_s: Annotated[
        float | None,
        Field(description="From the first sign to the end, on average, s; null where none has ended by itself."),
    ]


class AlertStatistics(BaseModel):
    """Counts and times, all together and apart."""

    total: Annotated[Counted, Field(description="All of them.")]
    by_rule: Annotated[dict[str, Counted], Field(description="By rule.")]
    by_severity: Annotated[dict[str, Counted], Field(description="By severity.")]
    by_state: Annotated[dict[str, Counted], Field(description="By state.")]


@router.get("/statistics", openapi_extra=reach(user="own", operator="region"), responses=problems(401, 422))
async def statistics(
    span: Annotated[Span, Query()], caller: CallerIs, databases: DatabasesAre
) -> Success[AlertStatistics]:
    """Counts of alerts that began in a span of at most 366 days, and mean times. What came late has none."""
    if span.until - span.since > _MOST:
        raise Malformed(f"ask for {_MOST.days} days at most", where="query.to")
    asked = {"from": span.since, "to": span.until}
    async with databases.domain(caller) as domain:
        await domain.look("alerts/statistics", details=asked)
        rows = await domain.rows(_QUERIES["statistics"], asked)
    found: dict[str, dict[str, Counted]] = {"rule": {}, "severity": {}, "state": {}, "total": {}}
    for row in rows:
        part = next((name for name in ("rule", "severity", "state") if row[name] is not None), "total")
        found[part][row.get(part) or "total"] = Counted.model_validate(row)
    told = AlertStatistics(
        total=found["total"]["total"],
        by_rule=found["rule"],
        by_severity=found["severity"],
        by_state=found["state"],
    )
    return Success(message="Statistics.", data=told)
