"""What the caller wants to see and hear of."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field

from cloud.api.access import SELF
from cloud.api.caller import CallerIs, DatabasesAre
from cloud.api.http.envelope import Body, Success, problems
from cloud.api.http.errors import Malformed
from cloud.api.http.fields import printable
from cloud.db.queries import Queries

router = APIRouter(prefix="/api/v1/users/me/preferences", tags=["preferences"])
_QUERIES = Queries("people")
_NULLABLE = {"consumption_threshold_wh", "power_threshold_w", "quiet_from", "quiet_until"}

Language = Annotated[
    str,
    Field(
        pattern=r"^[a-z]{2}(-[A-Z]{2})?$",
        description="Of messages and bills, which are in English where it is not German.",
        examples=["en-GB"],
    ),
]
Zone = Annotated[
    str,
    Field(min_length=1, max_length=64, description="IANA zone of charts and messages.", examples=["Europe/Berlin"]),
    AfterValidator(printable),
]
Theme = Annotated[Literal["system", "light", "dark"], Field(description="Colours of the pages.")]
Resolution = Annotated[
    Literal["auto", "raw", "1m", "15m", "1h", "1d"],
    Field(description="Step of charts; auto takes it from the width."),
]
Severity = Annotated[
    Literal["low", "medium", "warning", "high", "critical"], Field(description="The lowest that one is told of.")
]
Rule = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Rules = Annotated[
    list[Rule],
    Field(
        max_length=50,
        description="Rules of alerts not to be told of, whatever their severity.",
        examples=[["under_voltage"]],
    ),
]
Energy = Annotated[
    int,
    Field(gt=0, le=2**63 - 1, description="Energy of a local day above which one is told, Wh; null for none."),
]
Power = Annotated[
    float,
    Field(gt=0, le=1e12, allow_inf_nan=False, description="Power above which one is told, W; null for none."),
]
Time = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]
From = Annotated[Time, Field(description="When the hours without messages begin, in timezone; null for none.")]
Until = Annotated[
    Time, Field(description="When they end; before quiet_from it is the next morning.", examples=["07:00"])
]
Channel = Annotated[bool, Field(description="Whether alerts come this way.")]
Webhook = Annotated[
    bool,
    Field(description="Whether alerts go to the webhook of the installation too, at once; of operators and admins."),
]


class Preferences(BaseModel):
    """All of them."""

    language: Language
    timezone: Zone
    theme: Theme
    chart_resolution: Resolution
    notify_email: Channel
    notify_sms: Channel
    notify_push: Channel
    notify_web: Channel
    notify_webhook: Webhook
    alert_severity_min: Severity
    alert_rules_off: Rules
    consumption_threshold_wh: Energy | None
    power_threshold_w: Power | None
    quiet_from: From | None
    quiet_until: Until | None
    updated_at: Annotated[datetime, Field(description="When they changed last.")]


class PreferencesChange(Body):
    """What is left out stays."""

    language: Language | None = None
    timezone: Zone | None = None
    theme: Theme | None = None
    chart_resolution: Resolution | None = None
    notify_email: Channel | None = None
    notify_sms: Channel | None = None
    notify_push: Channel | None = None
    notify_web: Channel | None = None
    notify_webhook: Webhook | None = None
    alert_severity_min: Severity | None = None
    alert_rules_off: Rules | None = None
    consumption_threshold_wh: Energy | None = None
    power_threshold_w: Power | None = None
    quiet_from: From | None = None
    quiet_until: Until | None = None


@router.get("", openapi_extra=SELF, responses=problems(401))
async def preferences(caller: CallerIs, databases: DatabasesAre) -> Success[Preferences]:
    """The caller's."""
    async with databases.domain(caller) as domain:
        found = await domain.row(_QUERIES["preferences"])
    return Success(message="Your preferences.", data=Preferences.model_validate(found))


@router.patch("", openapi_extra=SELF, responses=problems(401, 422))
async def change(body: PreferencesChange, caller: CallerIs, databases: DatabasesAre) -> Success[Preferences]:
    """Change some. Thresholds and quiet hours go by null, and nothing else does."""
    changes = body.model_dump(exclude_unset=True)
    for name, value in changes.items():
        if value is None and name not in _NULLABLE:
            raise Malformed(f"{name} has a value; leave it out to keep it", where=f"body.{name}")
    async with databases.domain(caller) as domain:
        if changes.get("notify_webhook") and domain.role == "USER":
            raise Malformed("the webhook is for operators and admins; leave it out", where="body.notify_webhook")
        if unknown := await domain.rows(_QUERIES["unknown_rules"], {"rules": changes.get("alert_rules_off", [])}):
            names = ", ".join(row["rule"] for row in unknown)
            raise Malformed(f"there is no rule {names}; GET alert-rules has their names", where="body.alert_rules_off")
        written = {"changes": msgspec.json.encode(changes).decode()}
        found = await domain.row(_QUERIES["change_preferences"], written)
    return Success(message="Changed.", data=Preferences.model_validate(found))
