"""A batch as arrays: which rows can be stored, which values and readings must be set aside, and why."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cloud.ingest.acceptance import Window
from cloud.ingest.portion import Numbers, Portion
from cloud.ingest.registry import Registry
from cloud.ingest.rows import Floats, Mask, Numeric, Rows, joined
from contract.batch import DeviceBlock, Number
from contract.quantities import BY_NAME, Kind


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
class Sorted:
    """What a batch comes to: rows to store and parts set aside; `late` if any row is older than what is live."""

    rows: Rows
    set_aside: list[SetAside] = field(default_factory=list)
    late: bool = False


def sort_out(portions: Iterable[Portion], gateway_id: int, registry: Registry, window: Window) -> Sorted:
    """Split `portions` into rows that can be stored and what has to wait, without losing a value.

    A portion is looked at as a whole; a device in which anything is doubtful is then taken alone.
    """
    rows, doubtful = sound(portions, gateway_id, registry, window)
    return doubtful_too(rows, doubtful, gateway_id, registry, window)


def sound(
    portions: Iterable[Portion], gateway_id: int, registry: Registry, window: Window
) -> tuple[list[Rows], list[DeviceBlock]]:
    """The rows of those devices that have nothing to set aside and no null, and the blocks of the others."""
    parts: list[Rows] = []
    doubtful: list[DeviceBlock] = []
    for portion in portions:
        rows, numbers = _sound(portion, gateway_id, registry, window)
        if rows is not None:
            parts.append(rows)
        doubtful += portion.chosen_blocks(numbers)
    return parts, doubtful


def doubtful_too(
    parts: list[Rows], doubtful: Iterable[DeviceBlock], gateway_id: int, registry: Registry, window: Window
) -> Sorted:
    """The rows of `parts`, those of `doubtful` blocks, and what of these is set aside."""
    aside: list[SetAside] = []
    for block in doubtful:
        more, some = _alone(block, gateway_id, registry, window)
        if more is not None:
            parts.append(more)
        aside += some
    rows = joined(parts).in_order()
    return Sorted(rows, aside, late=bool(len(rows) and rows.time_us.min() < window.live_us))


def _sound(portion: Portion, gateway_id: int, registry: Registry, window: Window) -> tuple[Rows | None, Sequence[int]]:
    """The sound rows, None where no device is sound, and the numbers of the doubtful devices."""
    everybody = range(len(portion.devices))
    values = _as_arrays(portion.columns)
    if values is None or not len(portion.time_us):
        return None, everybody
    meters = registry.only_meters(gateway_id, portion.devices)
    owner = portion.owner()
    rows = Rows(
        time_us=portion.time_us,
        meter_id=meters[owner],
        flags=np.zeros(len(owner), dtype=np.int16) if portion.flags is None else portion.flags,
        values=values,
    )
    doubtful = meters == 0
    for column, lowest, highest in _bounded(rows, window):
        if not (column.min() >= lowest and column.max() <= highest):
            doubtful[owner[~((column >= lowest) & (column <= highest))]] = True
    for name, column in values.items():
        if BY_NAME[name].kind is Kind.CUMULATIVE and column.dtype != np.int64:
            doubtful[owner[column != np.floor(column)]] = True
    if not doubtful.any():
        return rows, ()
    numbers: list[int] = np.flatnonzero(doubtful).tolist()
    return rows.take(~doubtful[owner]), numbers


def _bounded(rows: Rows, window: Window) -> Iterator[tuple[Numeric, float, float]]:
    """Each column, and between what its values have to lie; a NaN lies nowhere."""
    yield rows.time_us, window.oldest_us, window.newest_us
    for name, column in rows.values.items():
        yield column, BY_NAME[name].minimum, BY_NAME[name].maximum


def _as_arrays(columns: Mapping[str, Numbers]) -> dict[str, Numeric] | None:
    """The columns as arrays, a null as NaN; None where one is of an unknown quantity, or of no doubles."""
    values: dict[str, Numeric] = {}
    for name, column in columns.items():
        if name not in BY_NAME:
            return None
        try:
            values[name] = column if isinstance(column, np.ndarray) else np.array(column, dtype=np.float64)
        except OverflowError:
            return None
    return values


def _alone(
    block: DeviceBlock, gateway_id: int, registry: Registry, window: Window
) -> tuple[Rows | None, list[SetAside]]:
    """The rows of one block, None where it has none, and what of it is set aside."""
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
    if not good.any():
        return None, aside
    columns, bad_values = _values(block, good)
    flags = np.zeros(len(time_us), np.int16) if block.flags is None else np.array(block.flags, dtype=np.int16)
    return Rows(time_us, meter_id, flags, columns).take(good), aside + bad_values


def _values(block: DeviceBlock, good: Mask) -> tuple[dict[str, Numeric], list[SetAside]]:
    """The block's columns with everything that breaks the table of quantities blanked and set aside."""
    columns: dict[str, Numeric] = {}
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
    if only is None and chosen.all():
        return block
    index = np.flatnonzero(chosen).tolist()
    names = block.values if only is None else (only,)
    return DeviceBlock(
        device=block.device,
        time_us=[block.time_us[i] for i in index],
        values={name: [block.values[name][i] for i in index] for name in names},
        flags=None if block.flags is None else [block.flags[i] for i in index],
        interval_ms=block.interval_ms,
    )
