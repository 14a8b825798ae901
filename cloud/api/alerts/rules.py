"""Rules that raise alerts, as data: for all, for a region in their place, or for a meter in place of both.

A change is a new version.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from psycopg.types.json import Jsonb
from pydantic import AfterValidator, BaseModel, Field

from cloud.api.access import reach
from cloud.api.alerts.forms import Category, RuleName, Severity
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.database import Caller, Databases, Transaction
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import Malformed
from cloud.api.http.fields import Region, printable
from cloud.api.http.paging import Paging, page
from cloud.api.registry.meters import Code
from cloud.api.registry.regions import Which
from cloud.api.registry.staff import admin, staff
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1", tags=["rules"])
_QUERIES = Queries("api_alerts")
_ERRORS = problems(401, 403, 404, 409, 422)
Named = Annotated[
    str, Path(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the rule.", examples=["under_voltage"])
]
Threshold = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Seconds = Annotated[int, Field(ge=0, le=2_592_000)]
Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class Metric(BaseModel):
    """Something that rules may measure."""

    metric: Annotated[str, Field(description="Its name in rules.", examples=["voltage_percent"])]
    subject: Annotated[str, Field(description="meter, gateway or region: what it is measured of.", examples=["meter"])]
    unit: Annotated[str, Field(description="Unit of its values and thresholds; empty for none.", examples=["%"])]
    title: Annotated[str, Field(description="What it is, for people.", examples=["Voltage in percent of nominal"])]
    step_min: Annotated[
        int, Field(description="Length of what it is worked out from, min; 0 for what was heard last.", examples=[1])
    ]


class Rule(BaseModel):
    """A version of a rule."""

    alert_rule_id: Annotated[int, Field(description="Number of the version.")]
    rule: Annotated[str, Field(description="Its name.", examples=["under_voltage"])]
    region: Annotated[str | None, Field(description="The region that it is for; null for all.")]
    meter: Annotated[str | None, Field(description="Code of the meter that it is for; null for all.")]
    from_: Annotated[datetime | None, Field(alias="from", description="Since when; null for always.")]
    to: Annotated[datetime | None, Field(description="Until when; null while it is in force.")]
    metric: Annotated[str, Field(description="What is measured.", examples=["voltage_percent"])]
    unit: Annotated[str, Field(description="Unit of the thresholds.", examples=["%"])]
    above: Annotated[bool, Field(description="Whether it is raised above its threshold, or below it.")]
    raise_at: Annotated[float | None, Field(description="Threshold that raises it, in unit.", examples=[90])]
    clear_at: Annotated[float | None, Field(description="Threshold at which it is over, in unit.", examples=[91])]
    worse_at: Annotated[float | None, Field(description="Beyond it, it is worse_severity, in unit.", examples=[85])]
    severity: Annotated[Severity, Field(description="How bad it is.")]
    worse_severity: Annotated[Severity | None, Field(description="How bad beyond worse_at, or after worse_after_s.")]
    worse_after_s: Annotated[int | None, Field(description="After how long it is worse_severity, s.")]
    window_min: Annotated[int, Field(description="How long is measured together, min.", examples=[10])]
    for_s: Annotated[int, Field(description="How long it has to last before it fires, s.")]
    keep_s: Annotated[int, Field(description="How long it has to be over before it is resolved, s.")]
    hold_s: Annotated[int, Field(description="How long after it fired people are told, s.")]
    min_load_percent: Annotated[float | None, Field(description="It holds only above this load, percent of rating.")]
    rating_percent: Annotated[
        float | None, Field(description="The threshold is at least this share of the rating, percent.")
    ]
    category: Annotated[Category, Field(description="What it is about.")]
    tells_owner: Annotated[bool, Field(description="Whether whose meter it is is told.")]
    tells_operators: Annotated[bool, Field(description="Whether operators of the region are told.")]
    enabled: Annotated[bool, Field(description="Whether it is looked for.")]


class RuleChange(Body):
    """What is left out is as it was, or as it is where nothing else is said. Metric and direction of a name stay;
    window, load and rating of a meter are its region's."""

    metric: Annotated[RuleName, Field(default=None, description="What is measured.", examples=["voltage_percent"])]
    above: Annotated[bool, Field(default=None, description="Whether it is raised above, or below.", examples=[False])]
    raise_at: Annotated[Threshold | None, Field(description="Threshold that raises it, in unit.", examples=[90])] = None
    clear_at: Annotated[
        Threshold | None, Field(description="Threshold at which it is over, in unit.", examples=[91])
    ] = None
    worse_at: Annotated[
        Threshold | None, Field(description="Beyond it, it is worse_severity, in unit.", examples=[85])
    ] = None
    severity: Annotated[Severity, Field(default=None, description="How bad it is.", examples=["warning"])]
    worse_severity: Annotated[Severity | None, Field(description="How bad beyond worse_at.", examples=["critical"])] = (
        None
    )
    worse_after_s: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="After how long it is worse_severity, s.", examples=[86400])
    ] = None
    window_min: Annotated[
        int,
        Field(
            default=None,
            ge=1,
            le=1440,
            description="How long is measured together, a part of a day, min.",
            examples=[10],
        ),
    ]
    for_s: Annotated[Seconds, Field(default=None, description="How long until it fires, s.", examples=[0])]
    keep_s: Annotated[
        Seconds, Field(default=None, description="How long it is over until resolved, s.", examples=[600])
    ]
    hold_s: Annotated[
        int, Field(default=None, ge=0, le=86_400, description="How long until people are told, s.", examples=[0])
    ]
    min_load_percent: Annotated[
        Percent | None, Field(description="Only above this load, percent of rating.", examples=[None])
    ] = None
    rating_percent: Annotated[
        Percent | None, Field(description="Threshold is at least this of rating, percent.", examples=[None])
    ] = None
    category: Annotated[Category, Field(default=None, description="What it is about.", examples=["supply"])]
    tells_owner: Annotated[bool, Field(default=None, description="Whether whose meter it is is told.", examples=[True])]
    tells_operators: Annotated[
        bool, Field(default=None, description="Whether operators of the region are told.", examples=[True])
    ]
    enabled: Annotated[bool, Field(default=None, description="Whether it is looked for.", examples=[True])]


class RuleEnded(BaseModel):
    """What went with a rule."""

    resolved: Annotated[int, Field(description="How many alerts were resolved, because no rule looks at them.")]


class Listing(Paging):
    """Which rules; all that are given must hold."""

    rule: Annotated[RuleName | None, Field(description="Only versions of this rule.")] = None
    region: Annotated[Region | None, Field(description="Only what is said of this region.")] = None
    meter: Annotated[
        str | None,
        Field(max_length=40, description="Only what is said of the meter with this code."),
        AfterValidator(lambda text: text if text is None else printable(text)),
    ] = None
    history: Annotated[bool, Field(description="Also versions that are not in force any more.")] = False


@router.get("/alert-metrics", openapi_extra=reach(user="all", operator="all"), responses=problems(401))
async def metrics(caller: CallerIs, databases: DatabasesAre) -> Success[list[Metric]]:
    """What rules may measure."""
    async with databases.domain(caller) as domain:
        rows = await domain.rows(_QUERIES["metrics"])
    return Success(message="Metrics.", data=[Metric.model_validate(row) for row in rows])


@router.get("/alert-rules", openapi_extra=reach("rule", user="all", operator="all"), responses=problems(401, 422))
async def rules(listing: Annotated[Listing, Query()], caller: CallerIs, databases: DatabasesAre) -> Success[list[Rule]]:
    """Rules in force. What is said of single meters is seen by who looks after them, and by whose they are."""
    wanted = listing.model_dump(exclude={"cursor"})
    async with databases.domain(caller) as domain:
        await domain.look("alert-rules", details=wanted)
        if listing.rule is not None:
            await _require(domain, listing.rule)
        asked = wanted | {"after": listing.after, "id": None}
        shown, meta = page(await domain.rows(_QUERIES["rules"], asked), limit=listing.limit, key="alert_rule_id")
        await domain.found("alert-rules", [row["meter_id"] for row in shown if row["meter_id"] is not None])
    return Success(message="Rules.", data=[Rule.model_validate(row) for row in shown], meta=meta)


@router.put("/alert-rules/{rule}", openapi_extra=reach(), responses=_ERRORS)
async def set_rule(rule: Named, body: RuleChange, caller: CallerIs, databases: DatabasesAre) -> Success[Rule]:
    """Set a rule for all from now on, or make a new one. What is open by it goes on by the new version."""
    async with admin(databases, caller) as domain:
        return await _set(domain, rule, body)


@router.put("/alert-rules/{rule}/regions/{region}", openapi_extra=reach("region", operator="region"), responses=_ERRORS)
async def set_region_rule(
    rule: Named, region: Which, body: RuleChange, caller: CallerIs, databases: DatabasesAre
) -> Success[Rule]:
    """Set a rule for a region from now on, in place of what holds for all."""
    async with staff(databases, caller, "alert-rules", details={"region": region}) as domain:
        return await _set(domain, rule, body, region=region)


@router.put("/alert-rules/{rule}/meters/{code}", openapi_extra=reach("meter", operator="region"), responses=_ERRORS)
async def set_meter_rule(
    rule: Named, code: Code, body: RuleChange, caller: CallerIs, databases: DatabasesAre
) -> Success[Rule]:
    """Set a rule for a meter from now on, in place of its region's."""
    async with staff(databases, caller, "alert-rules", code=code) as domain:
        return await _set(domain, rule, body, meter=code)


@router.delete("/alert-rules/{rule}", openapi_extra=reach("rule"), responses=_ERRORS)
async def end_rule(rule: Named, caller: CallerIs, databases: DatabasesAre) -> Success[RuleEnded]:
    """End a rule for all. What is said of regions stays; what is open and no rule looks at is resolved."""
    return await _end(databases, caller, rule)


@router.delete(
    "/alert-rules/{rule}/regions/{region}", openapi_extra=reach("region rule", operator="region"), responses=_ERRORS
)
async def end_region_rule(rule: Named, region: Which, caller: CallerIs, databases: DatabasesAre) -> Success[RuleEnded]:
    """End what is said of a region; what holds for all holds there then."""
    return await _end(databases, caller, rule, region=region)


@router.delete(
    "/alert-rules/{rule}/meters/{code}", openapi_extra=reach("meter rule", operator="region"), responses=_ERRORS
)
async def end_meter_rule(rule: Named, code: Code, caller: CallerIs, databases: DatabasesAre) -> Success[RuleEnded]:
    """End what is said of a meter; what holds for its region holds for it then."""
    return await _end(databases, caller, rule, meter=code)


async def _require(domain: Transaction, rule: str) -> None:
    """Raises Malformed where there never was such a rule: a typo would look as if it were switched off."""
    others = dict.fromkeys(("region", "site", "gateway", "meter"))
    known = await domain.row(_QUERIES["named"], {**others, "rule": rule})
    if known is None or not known["rule"]:
        there = await domain.row(_QUERIES["names"])
        names = ", ".join(there["rule"] if there else ())
        raise Malformed(f"there is no rule {rule}; there are {names}", where="query.rule")


async def _set(
    domain: Transaction, rule: str, body: RuleChange, *, region: str | None = None, meter: str | None = None
) -> Success[Rule]:
    change = Jsonb(body.model_dump(exclude_unset=True))
    made = await domain.value(
        _QUERIES["caller_rule_set"], {"rule": rule, "region": region, "meter": meter, "change": change}
    )
    every: dict[str, Any] = {"rule": None, "region": None, "meter": None, "history": True, "after": 0, "limit": 1}
    found = await domain.row(_QUERIES["rules"], every | {"id": made})
    return Success(message="It holds from now on.", data=Rule.model_validate(found))


async def _end(
    databases: Databases, caller: Caller, rule: str, *, region: str | None = None, meter: str | None = None
) -> Success[RuleEnded]:
    about = {"rule": rule, "region": region}
    async with staff(databases, caller, "alert-rules", code=meter, details=about) as domain:
        asked = {"rule": rule, "region": region, "meter": meter}
        resolved = await domain.value(_QUERIES["caller_rule_end"], asked)
    return Success(message="It ended.", data=RuleEnded(resolved=resolved))
