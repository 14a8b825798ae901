"""A batch as arrays: which rows can be stored, which values and readings must be set aside, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cloud.ingest.registry import Registry
from contract.batch import DeviceBlock, Number
from contract.quantities import BY_NAME, QUANTITIES, Kind

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
    """Split `blocks` into rows that can be stored and what has to wait, without losing a value."""
    parts: list[Rows] = []
    aside: list[SetAside] = []
    for block in blocks:
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
        aside += bad_values
        flags = np.zeros(len(time_us), np.int16) if block.flags is None else np.array(block.flags, dtype=np.int16)
        rows = Rows(time_us, meter_id, flags, columns)
        parts.append(rows if good.all() else rows.take(good))
    return Sorted(_concatenate(parts), aside)


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
            suspicious = good & ~inside
            whole = quantity.kind is not Kind.CUMULATIVE or bool((column[inside] % 1 == 0).all())
            if not missing.any() and not suspicious.any() and whole:
                columns[name] = column
                continue
            fractional = np.zeros_like(missing) if whole else inside & (column % 1 != 0)
            verdicts = [
                ("not_a_number", missing & ~_nulls(numbers)),
                ("out_of_range", ~missing & ~inside),
                ("not_an_integer", fractional),
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
