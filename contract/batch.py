"""Version 1 of the batch: the readings of one gateway stream, columnar per device.

A batch is cut once, gets the next sequence number of its stream, and never changes afterwards. Its identity is
`(gateway, stream, seq)`, its checksum the SHA-256 of its encoded form before compression.
"""

import re
from enum import IntFlag
from typing import Annotated, Literal

import msgspec

VERSION = 1
MAX_DEVICE_KEY = 96


class Flag(IntFlag):
    """What is said of one reading besides its values."""

    TIME_FROM_DEVICE = 1
    """`time_us` is the meter's own clock; without it, the gateway's clock when the reply arrived."""


class BatchError(ValueError):
    """A batch that breaks the contract; `where` is the path of the culprit, as in `$.devices[2].values.power_w`."""

    def __init__(self, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo


STREAM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
"""A stream's name: a lower-case UUID."""

Seq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_QUANTITY = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")

DeviceKey = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_DEVICE_KEY, pattern=r"^[A-Za-z0-9._-]+(/[0-9]+)?\Z")
]
TimeUs = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Number = int | float | None


class DeviceBlock(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The readings of one device, one list entry per reading in every list.

    `device` is the gateway's name of the device, `name/n` for channel n of a device with several meters in it.
    `time_us` is microseconds since 1970-01-01T00:00:00Z. `values` maps quantity names to columns in the table's
    unit, null where the reading lacks the quantity. `flags` is a column of `Flag`, absent when all are 0.
    `interval_ms` is the polling or publishing interval that the gateway expects of the device, 0 if it has none.
    """

    device: DeviceKey
    time_us: list[TimeUs]
    values: dict[str, list[Number]]
    flags: list[Annotated[int, msgspec.Meta(ge=0, lt=2**15)]] | None = None
    interval_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """Readings `seq` of `stream`. Raises BatchError when columns differ in length or the stream is not a UUID."""

    version: Literal[1]
    stream: str
    seq: Seq
    devices: list[DeviceBlock]

    def __post_init__(self) -> None:
        if not STREAM.match(self.stream):
            raise BatchError("$.stream", f"{self.stream[:40]!r}", "it must be a lower-case UUID")
        for number, block in enumerate(self.devices):
            rows = len(block.time_us)
            for name, column in block.values.items():
                if not _QUANTITY.match(name):
                    raise BatchError(f"$.devices[{number}].values", f"{name[:70]!r}", "that is no quantity's name")
                _same_length(f"$.devices[{number}].values.{name}", len(column), rows)
            if block.flags is not None:
                _same_length(f"$.devices[{number}].flags", len(block.flags), rows)

    @property
    def readings(self) -> int:
        return sum(len(block.time_us) for block in self.devices)

    @property
    def columns(self) -> int:
        """Columns of all devices, that of the times included."""
        return sum(1 + len(block.values) for block in self.devices)


def _same_length(where: str, found: int, rows: int) -> None:
    if found != rows:
        raise BatchError(where, f"{found} entries", f"every column needs the {rows} entries of time_us")
