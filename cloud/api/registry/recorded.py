"""Answers to changes of the registry: they hold at once, and receivers know of them a little later."""

from datetime import datetime, timedelta
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from cloud.registry_copy import PAUSE_S

T = TypeVar("T")


class Step(BaseModel):
    """When those know who take readings in."""

    in_step_by: Annotated[
        datetime,
        Field(description="By when receivers go by the change, if a worker runs; it holds from the answer on."),
    ]


class Recorded(BaseModel, Generic[T]):
    """A change that is recorded."""

    success: Annotated[Literal[True], Field(description="Always true; errors are problem+json.")] = True
    message: Annotated[str, Field(description="One sentence for people.")]
    data: Annotated[T, Field(description="What it is now.")]
    meta: Annotated[Step, Field(description="When the change has reached everybody.")]


def recorded(message: str, data: T, *, now: datetime) -> Recorded[T]:
    """The answer to a change that was made at `now`."""
    # The worker may just have looked, and a receiver has a batch under way.
    return Recorded(message=message, data=data, meta=Step(in_step_by=now + timedelta(seconds=PAUSE_S + 5)))
