"""What a configuration may say of one device's payloads: fields of its own, before those of its profile."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from contract.quantities import BY_NAME
from edge.profiles.payload.path import EACH, steps

MAX_CHANNELS = 64


def known_quantity(quantity: str) -> str:
    if quantity not in BY_NAME:
        raise ValueError(f"unknown quantity {quantity!r}; the table is contract/quantities.py")
    return quantity


class DeviceField(BaseModel):
    """`quantity` is the number at `path`, times `scale`, divided by `divisor`; `invalid` lists what means "no value".

    `path` is a path into the JSON document; of a profile whose topics or metrics have names, such a name as it stands.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    path: Annotated[str, Field(min_length=1, max_length=500)]
    channel: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] | None = None
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1
    divisor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    invalid: tuple[float, ...] = ()

    _known = field_validator("quantity")(known_quantity)

    @field_validator("scale")
    @classmethod
    def _not_zero(cls, scale: float) -> float:
        if scale == 0:
            raise ValueError("a scale of 0 makes every value 0; leave the field out")
        return scale

    @property
    def factor(self) -> float:
        return self.scale / self.divisor


class DeviceFields(BaseModel):
    """`channels_path` leads to an array with one entry a meter; the fields' paths then start in an entry.

    `time_path` and `time_format` say where the device's clock is and how it is written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: tuple[DeviceField, ...] = ()
    channels_path: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    time_path: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    time_format: Literal["iso", "unix", "unix-ms"] | None = None

    @field_validator("channels_path", "time_path")
    @classmethod
    def _a_path(cls, path: str | None) -> str | None:
        if path is not None and EACH in steps(path):
            raise ValueError(f"{path!r} has [*] in it; only the paths of fields may")
        return path

    @model_validator(mode="after")
    def _without_contradiction(self) -> Self:
        if self.time_format is not None and self.time_path is None:
            raise ValueError("time_format without time_path; say where the clock is as well")
        if self.channels_path is not None and any(row.channel is not None for row in self.fields):
            raise ValueError("channels_path and a field with a channel; the entries at channels_path are the channels")
        seen: set[tuple[str, int | None]] = set()
        for row in self.fields:
            if (row.quantity, row.channel) in seen:
                raise ValueError(f"fields: {row.quantity} twice; one field says what a quantity is")
            seen.add((row.quantity, row.channel))
        return self
