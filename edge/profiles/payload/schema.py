"""What a profile says of a family of devices that publish alike: which messages there are, and what is in them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from contract.quantities import BY_NAME
from edge.profiles.payload.clock import TimeFormat
from edge.profiles.payload.path import EACH, steps
from edge.profiles.payload.settings import DeviceFields, known_quantity
from edge.profiles.payload.topic import compiled

_PHASE = "{phase}"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldMap(_Table):
    """One row: `quantity` is the number at `path`, or the sum of those in `sum`, times `scale` divided by `divisor`.

    A sum lacks the quantity when one of its parts is missing; a part with a minus before it is subtracted. `invalid`
    lists numbers that mean "not measured". The value is absent as well while the field `unless_zero` is 0: on a phase
    without voltage, what a meter says of current and frequency is noise. It is absent for good once the device has
    sent the field `unless_seen`, of which a row before makes more. With `needs_unit`, a number without a unit is
    refused: the name does not tell watt-hours from kilowatt-hours. Where the field is an array of phases, its entries
    are the quantities that `phases` names, and `total` says how `quantity` comes from them.
    """

    quantity: str
    path: str | None = None
    sum: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    scale: Annotated[int, Field(gt=0)] = 1
    divisor: Annotated[int, Field(gt=0)] = 1
    invalid: tuple[float, ...] = ()
    unless_zero: str | None = None
    unless_seen: str | None = None
    needs_unit: bool = False
    phases: str | None = None
    total: Literal["sum", "first"] | None = None

    _known = field_validator("quantity")(known_quantity)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.path is None) == (self.sum is None):
            raise ValueError("neither or both of path and sum; a row has one of them")
        for path in filter(None, (*self.paths, self.unless_zero, self.unless_seen)):
            if EACH in steps(path):
                raise ValueError(f"{path!r} has [*] in it; a component lists meters by its own arrays")
        if self.phases is not None:
            if _PHASE not in self.phases or self.phases.replace(_PHASE, "1") not in BY_NAME:
                raise ValueError(f"phases = {self.phases!r} names no quantity with {_PHASE} in it")
            if self.path is None:
                raise ValueError("phases of a sum; give the row a path")
        return self

    @property
    def factor(self) -> float:
        return self.scale if self.divisor == 1 else self.scale / self.divisor

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the row's numbers are, without the signs of a sum."""
        return (self.path,) if self.path is not None else tuple(part.removeprefix("-") for part in self.sum or ())


class Component(_Table):
    """A part of a document. `keys` are the names it goes by; with a number behind (`em:0`), or as an array of
    objects, there are several. `$` is the document itself.

    A document that is the bare content has no name to go by: it is known by one of `marks`. The content counts only
    while the field `valid` is not false. Fields with one of the `suffixes` behind their names are an array, in that
    order. The entries of an array are meters where one of the registers `meters_by` is an array as well, and phases
    of one meter where it is not; `phases_by` is the field that shows whether two entries are phases or mere circuits.
    `reversed_by` names, for a field that may lack its sign, the field that says "producing" beside it.
    """

    keys: Annotated[tuple[str, ...], Field(min_length=1)]
    marks: tuple[str, ...] = ()
    valid: str | None = None
    suffixes: tuple[tuple[str, ...], ...] = ()
    meters_by: tuple[str, ...] = ()
    phases_by: str | None = None
    reversed_by: dict[str, str] = {}
    fields: tuple[FieldMap, ...]


class Message(_Table):
    """Messages alike: on `topics`, with `content`.

    json: a document, perhaps inside one of the objects `wrappers`, its clock at the first of `time_paths` that has
    one. Where `foreign` is "ignore", a document with no component is none of a meter's, else it cannot be decoded.
    With `telegrams`, a payload may also be a P1 telegram: its codes are the keys.
    number: one number; the topic's `{field}` is the path of its rows, `{channel}` counts meters from 0. Fields that
    no row has are none of a meter's, or with `others` "pass" a matter of the messages after.
    sparkplug-b: the metrics' names are the paths.
    """

    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    content: Literal["json", "number", "sparkplug-b"]
    wrappers: tuple[str, ...] = ()
    time_paths: tuple[str, ...] = ()
    time_format: TimeFormat = "auto"
    foreign: Literal["refuse", "ignore"] = "refuse"
    telegrams: bool = False
    others: Literal["ignore", "pass"] = "ignore"
    components: tuple[Component, ...] = ()
    fields: tuple[FieldMap, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [frozenset(compiled(pattern).groupindex) for pattern in self.topics]
        if self.content == "number" and not all("field" in found for found in names):
            raise ValueError("content = 'number' on a topic without {field}; nothing would say what the number is")
        if self.content == "json" and self.fields:
            raise ValueError("content = 'json' with fields; they belong to a component")
        if any(row.needs_unit for component in self.components for row in component.fields):
            raise ValueError("needs_unit in a component; only numbers and metrics come with units of their own")
        if self.content != "json" and (self.components or self.wrappers or self.telegrams):
            raise ValueError(f"content = {self.content!r} with components, wrappers or telegrams; it has fields only")
        for path in self.time_paths:
            steps(path)
        return self


class PayloadProfile(_Table):
    """A family of devices that publish alike. The first message whose topics match reads what came.

    `ignored_topics` are matched before: what comes on them says nothing of a meter. `offline_topics` map to the
    payload by which the device, or its will, says that it is gone. Values that come as messages of their own belong
    together within `gather_ms`. With `needs_fields` the profile has no rows of its own: each device's configuration
    lists them. With `takes_names` the paths of such rows are whole names of fields or metrics, not paths into a
    document.
    """

    kind: Literal["mqtt"]
    model: str
    datasheet: str
    source: str
    verified: bool
    ignored_topics: tuple[str, ...] = ()
    offline_topics: dict[str, str] = {}
    gather_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    needs_fields: bool = False
    takes_names: bool = False
    message: tuple[Message, ...]

    @field_validator("ignored_topics", "offline_topics")
    @classmethod
    def _patterns(cls, patterns: "tuple[str, ...] | dict[str, str]") -> "tuple[str, ...] | dict[str, str]":
        for pattern in patterns:
            compiled(pattern)
        return patterns

    @field_validator("message")
    @classmethod
    def _some(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        # A minimum length would be reported besides whatever is wrong with the only message.
        if not messages:
            raise ValueError("no message; say on which topics the devices publish what")
        return messages

    def check(self, fields: DeviceFields | None) -> None:
        """Raises ValueError in one line when a device of this profile cannot have `fields`, or has to have some."""
        given = fields or DeviceFields()
        if self.needs_fields and not given.fields:
            raise ValueError("this profile has no fields of its own; list the device's under fields")
        if self.takes_names:
            if given.channels_path is not None or given.time_path is not None:
                raise ValueError("channels_path and time_path are for JSON; this profile's messages have names only")
            return
        for row in given.fields:
            steps(row.path)
