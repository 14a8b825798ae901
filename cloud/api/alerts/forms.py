"""What an alert looks like, and what became of it."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from cloud.api.http.fields import printable

Severity = Literal["low", "medium", "warning", "high", "critical"]
Category = Literal["supply", "load", "consumption", "tamper", "data"]
State = Literal["firing", "clearing", "resolved"]
Kind = Literal[
    "fired",
    "worse",
    "clearing",
    "again",
    "resolved",
    "joined",
    "flapping",
    "told",
    "muted",
    "escalated",
    "acknowledged",
    "commented",
    "closed",
]
AlertId = Annotated[int, Path(ge=1, le=2**63 - 1, description="Number of the alert.", examples=[17])]
RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", examples=["under_voltage"])]
Said = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(min_length=1, max_length=2000, examples=["A fuse of the street has blown; somebody is on the way"]),
    AfterValidator(printable),
]


class Alert(BaseModel):
    """What a rule found wrong with a meter, a gateway, a site or a region."""

    alert_id: Annotated[int, Field(description="Its number.")]
    rule: Annotated[str, Field(description="The rule that found it.", examples=["under_voltage"])]
    category: Annotated[Category, Field(description="What it is about; data is what meters and gateways tell.")]
    severity: Annotated[Severity, Field(description="How bad it is, or was at its worst.")]
    state: Annotated[State, Field(description="clearing: it seems to be over, and not for long enough yet.")]
    subject: Annotated[str | None, Field(description="What it is about, by its name.", examples=["MTR-00000001"])]
    meter: Annotated[str | None, Field(description="Code of the meter; null where it is about something else.")]
    gateway: Annotated[
        str | None, Field(description="Name of the gateway; null where it is about something else.", examples=["attic"])
    ]
    site: Annotated[str | None, Field(description="The site; null where it is about something else.")]
    region: Annotated[str | None, Field(description="The region; null where it is about something else.")]
    phase: Annotated[int, Field(description="Phase 1 to 3, a number without unit; 0 where it is about none.")]
    value: Annotated[
        float | None,
        Field(
            description="What was measured, in unit, when it fired, got worse, seemed over or came back last.",
            examples=[88.4],
        ),
    ]
    threshold: Annotated[float | None, Field(description="What it was compared with, in unit.", examples=[90])]
    unit: Annotated[str | None, Field(description="Unit of both.", examples=["%"])]
    message: Annotated[str, Field(description="One sentence for people.")]
    started_at: Annotated[datetime, Field(description="When the first sign was measured.")]
    fired_at: Annotated[datetime, Field(description="When it had lasted long enough, by what was measured.")]
    acknowledged_at: Annotated[datetime | None, Field(description="When somebody took it on.")]
    acknowledged_by: Annotated[int | None, Field(description="Number of the user who did.")]
    resolved_at: Annotated[datetime | None, Field(description="When it was over, or somebody closed it.")]
    resolved_by: Annotated[int | None, Field(description="Number of the user who closed it.")]
    part_of: Annotated[int | None, Field(description="Number of the alert that stands for this one and others.")]
    flapping: Annotated[bool, Field(description="Whether it came and went four times within an hour.")]
    late: Annotated[bool, Field(description="Whether it was found in data that came late, and nobody was told.")]
    told_at: Annotated[datetime | None, Field(description="When people were told last, but for being reminded.")]
    escalations: Annotated[int, Field(description="How often it was told again because nobody took it on.")]
    updated_at: Annotated[datetime, Field(description="When it changed last.")]


class AlertEvent(BaseModel):
    """Something that became of an alert, or that somebody said to it."""

    event_id: Annotated[int, Field(description="Its number, in the order of events.")]
    kind: Annotated[Kind, Field(description="What; joined: another alert stands for it; muted: told later.")]
    at: Annotated[datetime, Field(description="When; of what was measured, the time of that.")]
    user_id: Annotated[int | None, Field(description="Number of the user who did it; null for what went by itself.")]
    text: Annotated[
        str | None, Field(description="What they said, or what was measured.", examples=["Somebody is on the way"])
    ]


class AlertDetails(Alert):
    """An alert, and what became of it."""

    events: Annotated[list[AlertEvent], Field(description="In their order.")]
