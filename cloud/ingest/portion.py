"""A batch as the receiver works with it, whatever form it came in: readings with the same quantities, as columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from contract.batch import Batch, DeviceBlock, Number
from contract.notes import Note

Numbers = NDArray[np.int64] | NDArray[np.float64] | Sequence[Number]
"""One column: integers or doubles without nulls as an array, anything else as the batch has it."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Readings with the same quantities: `counts[i]` of `devices[i]`, device after device in every column.

    `flags` is None when all are 0. `blocks` are the devices' blocks where the batch came as such.
    """

    devices: Sequence[str]
    counts: Sequence[int]
    interval_ms: Sequence[int]
    time_us: NDArray[np.int64]
    flags: NDArray[np.int16] | None
    columns: Mapping[str, Numbers]
    blocks: Sequence[DeviceBlock] | None = None

    def owner(self) -> NDArray[np.int64]:
        """For each reading, which of `devices` it is of."""
        return np.repeat(np.arange(len(self.devices)), self.counts)

    def chosen_blocks(self, numbers: Sequence[int]) -> list[DeviceBlock]:
        """The blocks of these devices, every value as the batch has it."""
        if self.blocks is not None:
            return [self.blocks[number] for number in numbers]
        ends = np.cumsum(self.counts).tolist()
        return [self._block(number, ends[number] - self.counts[number], ends[number]) for number in numbers]

    def _block(self, number: int, begin: int, end: int) -> DeviceBlock:
        return DeviceBlock(
            device=self.devices[number],
            time_us=self.time_us[begin:end].tolist(),
            values={name: _listed(column[begin:end]) for name, column in self.columns.items()},
            flags=None if self.flags is None else self.flags[begin:end].tolist(),
            interval_ms=self.interval_ms[number],
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a batch."""

    version: int
    stream: str
    seq: int
    notes: Sequence[Note]
    portions: Sequence[Portion]

    @property
    def readings(self) -> int:
        return sum(len(portion.time_us) for portion in self.portions)


def contents(batch: Batch) -> Contents:
    """`batch`, its blocks by their quantities."""
    return Contents(batch.version, batch.stream, batch.seq, batch.notes, portions(batch.devices))


def portions(blocks: Iterable[DeviceBlock]) -> list[Portion]:
    """Blocks with the same quantities become one portion."""
    alike: dict[tuple[str, ...], list[DeviceBlock]] = {}
    for block in blocks:
        alike.setdefault(tuple(block.values), []).append(block)
    return [_portion(members) for members in alike.values()]


def _portion(blocks: list[DeviceBlock]) -> Portion:
    counts = [len(block.time_us) for block in blocks]
    flags = None
    if any(block.flags is not None for block in blocks):
        each = (repeat(0, len(block.time_us)) if block.flags is None else block.flags for block in blocks)
        flags = np.array(list(chain.from_iterable(each)), dtype=np.int16)
    return Portion(
        devices=[block.device for block in blocks],
        counts=counts,
        interval_ms=[block.interval_ms for block in blocks],
        time_us=np.array(list(chain.from_iterable(block.time_us for block in blocks)), dtype=np.int64),
        flags=flags,
        columns={name: list(chain.from_iterable(block.values[name] for block in blocks)) for name in blocks[0].values},
        blocks=blocks,
    )


def _listed(column: Numbers) -> list[Number]:
    if isinstance(column, np.ndarray):
        plain: list[Number] = column.tolist()
        return plain
    return [*column]
