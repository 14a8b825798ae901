"""What a device publishes: which fields of its JSON are which quantities, and the decoder that applies such a map."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.quantities import BY_NAME
from edge.errors import PayloadError

Json = Mapping[str, object]
MAX_CHANNELS = 64


class FieldMap(BaseModel):
    """One row: `quantity` is the number at `path` times `scale`.

    `invalid` lists numbers that mean "not measured". The value is absent as well while the field `unless_zero` is 0:
    on a phase without voltage, what a meter says of current and frequency is noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    path: str
    scale: Annotated[int, Field(gt=0)] = 1
    invalid: tuple[float, ...] = ()
    unless_zero: str | None = None

    @model_validator(mode="after")
    def _known_quantity(self) -> Self:
        if self.quantity not in BY_NAME:
            raise ValueError(f"unknown quantity {self.quantity!r}; the table is contract/quantities.py")
        return self


class Component(BaseModel):
    """A part of the payload, named `key` or, where a device has several, `key:0`, `key:1` and so on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    fields: tuple[FieldMap, ...]


class PayloadProfile(BaseModel):
    """A family of devices that publish alike.

    `wrappers` are keys that may enclose the payload; `time_key` is where its clock is, `time_format` how it is written.
    `ignore_foreign` says that messages without any component are ordinary there, and no mistake.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mqtt"]
    model: str
    datasheet: str
    source: str
    verified: bool
    wrappers: tuple[str, ...] = ()
    time_key: str
    time_format: Literal["iso", "unix"]
    ignore_foreign: bool = False
    components: tuple[Component, ...]


class Decoded(msgspec.Struct, frozen=True):
    """What one message said. `channels` maps the channel, None for a device's only one, else from 1, to quantities.

    `clock` is the device's own time as it stands in the payload; `skipped` names fields that held no number.
    """

    clock: str | float | None
    channels: dict[int | None, dict[str, float]]
    skipped: tuple[str, ...] = ()


def decode(profile: PayloadProfile, topic: str, payload: bytes) -> Decoded:
    """The quantities in `payload`. Raises PayloadError when it is no JSON object or holds nothing of the profile."""
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PayloadError(f"a JSON {type(document).__name__}, not an object")
    for wrapper in profile.wrappers:
        if isinstance(inner := document.get(wrapper), dict):
            document = inner
    clock = document.get(profile.time_key)
    channels: dict[int | None, dict[str, float]] = {}
    skipped: list[str] = []
    found = False
    for component, channel, content in _components(profile, topic, document):
        found = True
        for index, values in _component_values(component, content, skipped):
            channels.setdefault(index if index is not None else channel, {}).update(values)
    if not found and not profile.ignore_foreign:
        names = " or ".join(component.key for component in profile.components)
        raise PayloadError(f"no {names} object in it, only {', '.join(map(str, list(document)[:8])) or 'nothing'}")
    known_clock = clock if isinstance(clock, str | float | int) and not isinstance(clock, bool) else None
    return Decoded(known_clock, {key: values for key, values in channels.items() if values}, tuple(skipped))


def _components(profile: PayloadProfile, topic: str, document: Json) -> Iterator[tuple[Component, int | None, Json]]:
    # A status topic names its component in its last level and publishes the bare content.
    last_level = topic.rpartition("/")[2]
    for component in profile.components:
        # Three digits, as add-ons have them: what a publisher numbers beyond makes no device key.
        pattern = re.compile(rf"{re.escape(component.key)}(?::([0-9]{{1,3}}))?\Z")
        parts = [(match, document[key]) for key in document if (match := pattern.match(key))]
        if match := pattern.match(last_level):
            parts.append((match, document))
        for match, content in parts:
            if isinstance(content, dict):
                number = int(match[1] or 0)
                yield component, None if number == 0 else number + 1, content


def _component_values(
    component: Component, content: Json, skipped: list[str]
) -> Iterator[tuple[int | None, dict[str, float]]]:
    """Channel and values: one channel, or as many as the longest array among the fields has entries.

    An array beyond `MAX_CHANNELS` is no list of meters, and skipped.
    """
    columns = {row.path: _at(content, row.path) for row in component.fields}
    for path, value in columns.items():
        if isinstance(value, list) and len(value) > MAX_CHANNELS:
            columns[path] = None
            skipped.append(path)
    count = max((len(value) for value in columns.values() if isinstance(value, list)), default=1)
    for index in range(count):
        values: dict[str, float] = {}
        for row in component.fields:
            value = _number(_entry(columns[row.path], index))
            if value is None:
                if columns[row.path] is not None and _entry(columns[row.path], index) is not None:
                    skipped.append(row.path)
                continue
            if value in row.invalid or row.quantity in values:
                continue
            if row.unless_zero is not None and _number(_entry(_at(content, row.unless_zero), index)) == 0:
                continue
            values[row.quantity] = value * row.scale
        yield (index + 1 if count > 1 else None), values


def _at(content: Json, path: str) -> object:
    value: object = content
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _entry(value: object, index: int) -> object:
    """Channel `index` of a field: of an array its entry, of a scalar the value that all channels share."""
    if isinstance(value, list):
        return value[index] if index < len(value) else None
    return value


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def device_time_us(profile: PayloadProfile, clock: str | float | None, zone: tzinfo, near_us: int) -> int | None:
    """The payload's clock in microseconds UTC, or None when it has none or is no time.

    A clock without a zone is local to `zone`; of the two instants that a repeated hour allows, the one nearer to
    `near_us` is meant.
    """
    try:
        if profile.time_format == "unix":
            return None if clock is None else round(float(clock) * 1_000_000)
        local = datetime.fromisoformat(str(clock))
        if local.tzinfo is not None:
            return _unix_us(local)
        candidates = (_unix_us(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
        return min(candidates, key=lambda instant_us: abs(instant_us - near_us))
    except (ValueError, OverflowError):
        return None


def _unix_us(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def plausible_time(instant_us: int | None, now_us: int) -> bool:
    """Whether a device's clock can be believed: not more than 60 s ahead of the gateway's and at most 7 days behind."""
    return instant_us is not None and now_us - 7 * 86_400_000_000 <= instant_us <= now_us + 60_000_000
