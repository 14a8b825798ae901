"""Metrics of a Sparkplug B payload, as the protobuf definition of the specification (version 3.0, 6.4) has them."""

import struct

import msgspec

from edge.errors import PayloadError
from edge.profiles.payload.protobuf import Value, fields

# Data types by number: bits, and whether signed.
_INTEGERS = {
    1: (8, True), 2: (16, True), 3: (32, True), 4: (64, True),
    5: (8, False), 6: (16, False), 7: (32, False), 8: (64, False),
}  # fmt: skip
_FLOAT, _DOUBLE, _BOOLEAN, _STRINGS = 9, 10, 11, (12, 14)
_UNIT_PROPERTIES = frozenset({"engUnit", "EngUnit", "Engineering Units", "engineeringUnits", "unit", "units"})
# More than any meter has; what is beyond is no payload of one.
MAX_METRICS = 10_000


class Metric(msgspec.Struct):
    """`value` is a number or text, None for null and for types that no quantity has. `time_ms` is its own clock."""

    name: str | None = None
    alias: int | None = None
    time_ms: int | None = None
    datatype: int = 0
    is_null: bool = False
    unit: str = ""
    raw: tuple[int, Value] | None = None

    def value(self, datatype: int) -> object:
        """The value, read as `datatype`. Raises PayloadError when it is of another."""
        if self.is_null or self.raw is None:
            return None
        field, raw = self.raw
        if isinstance(raw, int):
            if datatype in _INTEGERS and field in (10, 11):
                return _integer(raw, *_INTEGERS[datatype])
            if datatype == _BOOLEAN or field == 14:
                return bool(raw)
            raise PayloadError(f"an integer of data type {datatype}")
        if field == 12 and datatype in (0, _FLOAT, _DOUBLE):
            return struct.unpack("<f", raw)[0]
        if field == 13 and datatype in (0, _FLOAT, _DOUBLE):
            return struct.unpack("<d", raw)[0]
        if field == 15 and datatype in (0, *_STRINGS):
            return raw.decode("utf-8", "replace")
        raise PayloadError(f"a value in field {field}, of data type {datatype}")


class Metrics(msgspec.Struct):
    """A payload: `time_ms` and `seq` are absent where the publisher left them out."""

    time_ms: int | None
    seq: int | None
    metrics: list[Metric]


def metrics(data: bytes) -> Metrics:
    """The payload in `data`. Raises PayloadError when it is none, or cut off."""
    found = Metrics(None, None, [])
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            found.time_ms = value
        elif number == 2 and isinstance(value, bytes):
            if len(found.metrics) >= MAX_METRICS:
                raise PayloadError(f"more than {MAX_METRICS} metrics in one payload")
            found.metrics.append(_metric(value))
        elif number == 3 and isinstance(value, int):
            found.seq = value & 0xFF
    return found


def _metric(data: bytes) -> Metric:
    found = Metric()
    for number, value in fields(data):
        if isinstance(value, int):
            if number == 2:
                found.alias = value
            elif number == 3:
                found.time_ms = value
            elif number == 4:
                found.datatype = value
            elif number == 7:
                found.is_null = bool(value)
            elif number in (10, 11, 14):
                found.raw = number, value
        elif number == 1:
            found.name = value.decode("utf-8", "replace")
        elif (number == 12 and len(value) == 4) or (number == 13 and len(value) == 8) or number in (15, 16, 17, 18):
            found.raw = number, value
        elif number == 9:
            found.unit = _unit(value)
    return found


def _unit(data: bytes) -> str:
    """The engineering unit among the properties of a metric, where its publisher gives one."""
    keys: list[str] = []
    values: list[str] = []
    for number, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            keys.append(value.decode("utf-8", "replace"))
        elif number == 2:
            text = next((part for field, part in fields(value) if field == 8 and isinstance(part, bytes)), b"")
            values.append(text.decode("utf-8", "replace"))
    return next((text for key, text in zip(keys, values, strict=False) if key in _UNIT_PROPERTIES), "")


def _integer(raw: int, bits: int, signed: bool) -> int:
    # Publishers extend negative numbers to 32 or 64 bits, or do not: only the type's own bits count.
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if signed and raw >> (bits - 1) else raw
