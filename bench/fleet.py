"""Batches of many meters at little cost: packed once, and patched for each further round."""

import uuid
from dataclasses import dataclass, field

import msgspec
import zstandard

from bench.load import Load
from contract.codec import encode_packed
from contract.columns import Column
from contract.packed import Group, pack

_COMPRESSOR = zstandard.ZstdCompressor(level=1)


@dataclass(slots=True)
class Gateway:
    """One stream of readings of the same meters: each batch is the first one, later, with registers that have grown."""

    group: Group
    span_us: int
    seq: int = 0
    stream: str = field(default_factory=lambda: str(uuid.uuid4()))

    def body(self, round_number: int) -> bytes:
        """The batch of a round, compressed as a gateway does it."""
        self.seq += 1
        # By more than any meter's register moves within a batch, 13 kW: a register that falls is another matter.
        grown_wh = round_number * self.span_us * 36 // 10_000_000
        columns = [
            _raised(column, grown_wh) if name == "energy_import_wh" else column
            for name, column in zip(self.group.quantities, self.group.columns, strict=True)
        ]
        unit_us = 10**self.group.time.decimals
        group = msgspec.structs.replace(
            self.group, time=_raised(self.group.time, round_number * self.span_us // unit_us), columns=columns
        )
        return _COMPRESSOR.compress(encode_packed(self.stream, self.seq, [], [group]))


def gateways(load: Load, *, start_us: int) -> list[Gateway]:
    """A gateway for each `load.devices` meters; round 0 begins at `start_us`, and each lasts `per_device` readings."""
    made = []
    for batch in load.batches(load.meters // load.devices, start_us=start_us):
        (group,) = pack(batch.devices)
        made.append(Gateway(group=group, span_us=load.span_us(1)))
    return made


def _raised(column: Column, by: int) -> Column:
    return msgspec.structs.replace(column, low=column.low + by)
