"""The batch: the readings of one gateway stream, columnar per device.

A batch is cut once, gets the next sequence number of its stream, and never changes afterwards. Its identity is
`(gateway, stream, seq)`, its checksum the SHA-256 of its encoded form before compression.

Version 2 adds `notes`, and the packed form of `contract.packed`. Nothing else has changed since version 1.
"""

import re
from enum import IntFlag
from typing import Annotated, Literal

import msgspec

from contract.notes import Note
from contract.terms import FLAG_LIMIT, INTERVAL_LIMIT, DeviceKey, Number, Seq, TimeUs

VERSION = 2


class Flag(IntFlag):
    """What is said of one reading besides its values."""

    TIME_FROM_DEVICE = 1
    """`time_us` is the meter's own clock; without it, the gateway's clock when the reply arrived."""
    TIME_CORRECTED = 2
    """The gateway's clock was wrong then; `time_us` is computed from the time since, once that was known."""


class BatchError(ValueError):
    """A batch that breaks the contract; `where` is the path of the culprit, as in `$.devices[2].values.power_w`."""

    def __init__(self, where: str, found: str, todo: str) -> None:
        super().__init__(f"{where}: {found}; {todo}")
        self.where, self.found, self.todo = where, found, todo


STREAM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
"""A stream's name: a lower-case UUID."""

QUANTITY = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
"""A quantity's name, whether the table has it or not."""


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
    flags: list[Annotated[int, msgspec.Meta(ge=0, lt=FLAG_LIMIT)]] | None = None
    interval_ms: Annotated[int, msgspec.Meta(ge=0, lt=INTERVAL_LIMIT)] = 0


class Batch(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Readings `seq` of `stream`, and since version 2 what is to be noted of them and of others.

    Either may be empty. Raises BatchError when columns differ in length or the stream is not a UUID.
    """

    version: Literal[1, 2]
    stream: str
    seq: Seq
    devices: list[DeviceBlock]
    notes: list[Note] = []

    def __post_init__(self) -> None:
        if not STREAM.match(self.stream):
            raise BatchError("$.stream", f"{self.stream[:40]!r}", "it must be a lower-case UUID")
        if self.notes and self.version == 1:
            raise BatchError("$.notes", f"{len(self.notes)} notes", "version 1 has none; send version 2")
        for number, block in enumerate(self.devices):
            rows = len(block.time_us)
            for name, column in block.values.items():
                if not QUANTITY.match(name):
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
