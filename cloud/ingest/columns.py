"""A batch as arrays: which rows can be stored, which values and readings must be set aside, and why."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cloud.ingest.registry import Registry
from contract.batch import DeviceBlock, Number
from contract.quantities import BY_NAME, QUANTITIES, Kind

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Window:
    """Reading times that are taken, microseconds since 1970, both inclusive."""

    oldest_us: int
    newest_us: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Part of a device block that is not stored, still in the batch's columnar form."""

    device: str
    reason: str
    block: DeviceBlock

    @property
    def readings(self) -> int:
        return len(self.block.time_us)


@dataclass(slots=True)
class Rows:
    """Rows for raw_readings, one array entry per row.

    `values` holds a float64 column for every quantity that any row has, NaN for NULL. Registers are exact in
    float64: their valid range ends at 1e13.
    """

    time_us: NDArray[np.int64]
    meter_id: NDArray[np.int32]
    flags: NDArray[np.int16]
    values: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.time_us)

    def take(self, chosen: NDArray[np.int64] | Mask) -> "Rows":
        """The rows that `chosen` selects, by mask or by index."""
        values = {name: column[chosen] for name, column in self.values.items()}
        return Rows(self.time_us[chosen], self.meter_id[chosen], self.flags[chosen], values)


@dataclass(slots=True)
class Sorted:
    """What a batch comes to: rows to store and parts set aside."""

    rows: Rows
    set_aside: list[SetAside] = field(default_factory=list)


def sort_out(blocks: Iterable[DeviceBlock], gateway_id: int, registry: Registry, window: Window) -> Sorted:
    """Split `blocks` into rows that can be stored and what has to wait, without losing a value.

    Blocks with the same quantities are looked at together; one in which anything is doubtful is then taken alone.
    """
    parts: list[Rows] = []
    aside: list[SetAside] = []
    alike: defaultdict[tuple[str, ...], list[DeviceBlock]] = defaultdict(list)
    for block in blocks:
        alike[tuple(block.values)].append(block)
    for group in alike.values():
        rows, doubtful = _sound(group, gateway_id, registry, window)
        parts.append(rows)
        for block in doubtful:
            rows, some = _alone(block, gateway_id, registry, window)
            parts.append(rows)
            aside += some
    return Sorted(_concatenate(parts), aside)


def _sound(
    group: list[DeviceBlock], gateway_id: int, registry: Registry, window: Window
) -> tuple[Rows, list[DeviceBlock]]:
    """The rows of those blocks of `group` that have nothing to set aside and no null, and the other blocks."""
    owner = np.repeat(np.arange(len(group)), [len(block.time_us) for block in group])
    time_us = np.array(_chained(block.time_us for block in group), dtype=np.int64)
    meter_id = np.array([registry.only_meter(gateway_id, block.device) for block in group], dtype=np.int32)[owner]
    flags = np.array(_chained(block.flags or repeat(0, len(block.time_us)) for block in group), dtype=np.int16)
    bad = (time_us > window.newest_us) | (time_us < window.oldest_us) | (meter_id == 0)
    values: dict[str, Floats] = {}
    for name in group[0].values:
        quantity = BY_NAME.get(name)
        if quantity is None:
            return _concatenate([]), group
        try:
            column = np.array(_chained(block.values[name] for block in group), dtype=np.float64)
        except OverflowError:
            return _concatenate([]), group
        bad |= ~((column >= quantity.minimum) & (column <= quantity.maximum))
        if quantity.kind is Kind.CUMULATIVE:
            bad |= column != np.floor(column)
        values[name] = column
    doubtful = np.zeros(len(group), dtype=np.bool_)
    doubtful[owner[bad]] = True
    rows = Rows(time_us, meter_id, flags, values)
    if not doubtful.any():
        return rows, []
    return rows.take(~doubtful[owner]), [group[number] for number in np.flatnonzero(doubtful)]


def _chained(columns: Iterable[Iterable[_Item]]) -> list[_Item]:
    return list(chain.from_iterable(columns))


def _alone(block: DeviceBlock, gateway_id: int, registry: Registry, window: Window) -> tuple[Rows, list[SetAside]]:
    """The rows of one block, and what of it is set aside."""
    aside: list[SetAside] = []
    time_us = np.array(block.time_us, dtype=np.int64)
    meter_id = registry.meters_of(gateway_id, block.device, time_us)
    verdicts = (
        ("future", time_us > window.newest_us),
        ("too_old", time_us < window.oldest_us),
        ("unknown_device", meter_id == 0),
    )
    good = np.ones(len(time_us), dtype=np.bool_)
    for reason, bad in verdicts:
        bad &= good
        if bad.any():
            aside.append(SetAside(block.device, reason, _part(block, bad)))
            good &= ~bad
    columns, bad_values = _values(block, good)
    flags = np.zeros(len(time_us), np.int16) if block.flags is None else np.array(block.flags, dtype=np.int16)
    return Rows(time_us, meter_id, flags, columns).take(good), aside + bad_values


def _values(block: DeviceBlock, good: Mask) -> tuple[dict[str, Floats], list[SetAside]]:
    """The block's columns with everything that breaks the table of quantities blanked and set aside."""
    columns: dict[str, Floats] = {}
    aside: list[SetAside] = []
    for name, numbers in block.values.items():
        column = _floats(numbers)
        quantity = BY_NAME.get(name)
        missing = np.isnan(column)
        if quantity is None:
            verdicts = [("unknown_quantity", ~_nulls(numbers))]
        else:
            inside = (column >= quantity.minimum) & (column <= quantity.maximum)
            fractional = inside & (column != np.floor(column))
            verdicts = [
                ("not_a_number", missing & ~_nulls(numbers)),
                ("out_of_range", ~missing & ~inside),
                ("not_an_integer", fractional & (quantity.kind is Kind.CUMULATIVE)),
            ]
            columns[name] = column
        for reason, bad in verdicts:
            bad = bad & good
            if bad.any():
                aside.append(SetAside(block.device, reason, _part(block, bad, only=name)))
                column[bad] = np.nan
    return columns, aside


def _floats(numbers: Sequence[Number]) -> Floats:
    try:
        return np.array(numbers, dtype=np.float64)
    except OverflowError:
        return np.array([_clamped(number) for number in numbers], dtype=np.float64)


def _clamped(number: Number) -> float:
    if number is None:
        return np.nan
    return float(max(min(number, 1e300), -1e300)) if isinstance(number, int) else number


def _nulls(numbers: Sequence[Number]) -> Mask:
    """Where the column says null, as opposed to NaN; numpy makes NaN of both."""
    return np.fromiter((number is None for number in numbers), dtype=np.bool_, count=len(numbers))


def _part(block: DeviceBlock, chosen: Mask, *, only: str | None = None) -> DeviceBlock:
    """The chosen readings of `block`, with all of its columns or only one."""
    index = np.flatnonzero(chosen).tolist()
    names = block.values if only is None else (only,)
    return DeviceBlock(
        device=block.device,
        time_us=[block.time_us[i] for i in index],
        values={name: [block.values[name][i] for i in index] for name in names},
        flags=None if block.flags is None else [block.flags[i] for i in index],
        interval_ms=block.interval_ms,
    )


def _concatenate(parts: list[Rows]) -> Rows:
    if not parts:
        return Rows(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int16), {})
    values: dict[str, Floats] = {}
    for quantity in QUANTITIES:
        if any(quantity.name in part.values for part in parts):
            blank = (np.full(len(part), np.nan) for part in parts)
            columns = [part.values.get(quantity.name, nothing) for part, nothing in zip(parts, blank, strict=True)]
            values[quantity.name] = np.concatenate(columns)
    return Rows(
        np.concatenate([part.time_us for part in parts]),
        np.concatenate([part.meter_id for part in parts]),
        np.concatenate([part.flags for part in parts]),
        values,
    )
