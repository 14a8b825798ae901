"""The packed form of readings: scaled integers, as differences, which zstd has little to say about.

Readings with the same quantities are one group, device after device. A column is integers, as `contract.columns` packs
them: a value times ten to the power of the column's decimals. A column that is not exactly such integers is written as
it is. Times are differences too, less the device's interval, in milliseconds where all of them are.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import truediv
from typing import Annotated

import msgspec

from contract.batch import BatchError, DeviceBlock
from contract.columns import Column, Shape, as_many, integers, numbers_of, scale_of
from contract.quantities import BY_NAME
from contract.terms import FLAG_LIMIT, INTERVAL_LIMIT, TIME_LIMIT, Count, DeviceKey

# Small lists cost a reader fifty times their bytes. No gateway has so many devices, no meter so many quantities.
MOST_DEVICES, MOST_QUANTITIES = 100_000, 1_000
_Devices = msgspec.Meta(max_length=MOST_DEVICES)
_Quantities = msgspec.Meta(max_length=MOST_QUANTITIES)


class Group(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Readings with the same quantities: `counts[i]` of `devices[i]`, whose interval is `interval_ms[i]`.

    `time` has `decimals` 0 for microseconds and 3 for milliseconds; `flags` is None when all are 0.
    """

    devices: Annotated[list[DeviceKey], _Devices]
    counts: Annotated[list[Count], _Devices]
    interval_ms: Annotated[list[Count], _Devices]
    time: Column
    flags: Column | None
    quantities: Annotated[list[str], _Quantities]
    columns: Annotated[list[Column], _Quantities]

    @property
    def readings(self) -> int:
        return sum(self.counts)

    @property
    def device_columns(self) -> int:
        """Columns of all devices, that of the times included, as they are once they are unpacked."""
        return len(self.devices) * (1 + len(self.columns))


class Flat(msgspec.Struct):
    """The readings of a group as they are, device after device in every list; no value is absent."""

    devices: list[str]
    counts: list[int]
    interval_ms: list[int]
    time_us: list[int]
    flags: list[int]
    values: dict[str, list[int | float]]

    def pack(self) -> Group:
        """Every value comes back as it is. The lists are not empty."""
        shape = Shape(self.counts)
        return Group(
            devices=self.devices,
            counts=self.counts,
            interval_ms=self.interval_ms,
            time=_times(self.time_us, self.interval_ms, shape),
            flags=integers(self.flags, 0, shape) if any(self.flags) else None,
            quantities=list(self.values),
            columns=[_column(name, column, shape) for name, column in self.values.items()],
        )


def pack(blocks: Iterable[DeviceBlock]) -> list[Group]:
    """`blocks` as groups. A null is told by the quantities of the reading's group."""
    alike: dict[tuple[str, ...], list[DeviceBlock]] = {}
    for block in chain.from_iterable(map(_without_nulls, blocks)):
        alike.setdefault(tuple(block.values), []).append(block)
    return [
        Flat(
            devices=[block.device for block in members],
            counts=[len(block.time_us) for block in members],
            interval_ms=[block.interval_ms for block in members],
            time_us=[time_us for block in members for time_us in block.time_us],
            flags=[flag for block in members for flag in block.flags or [0] * len(block.time_us)],
            values={name: [v for block in members for v in block.values[name] if v is not None] for name in names},
        ).pack()
        for names, members in alike.items()
    ]


def unpack(groups: Sequence[Group], where: str = "$") -> list[DeviceBlock]:
    """The blocks of `groups`, one a device and group. Raises BatchError, under `where`, for what does not fit."""
    blocks = []
    for number, group in enumerate(groups):
        flat = unpack_flat(group, f"{where}[{number}]")
        flagged, end = group.flags is not None, 0
        for device, count, interval_ms in zip(flat.devices, flat.counts, flat.interval_ms, strict=True):
            begin, end = end, end + count
            blocks.append(
                DeviceBlock(
                    device=device,
                    time_us=flat.time_us[begin:end],
                    values={name: [*column[begin:end]] for name, column in flat.values.items()},
                    flags=flat.flags[begin:end] if flagged else None,
                    interval_ms=interval_ms,
                )
            )
    return blocks


def _without_nulls(block: DeviceBlock) -> list[DeviceBlock]:
    """`block`, or its readings by which quantities they have."""
    if not any(None in column for column in block.values.values()):
        return [block] if block.time_us else []
    rows_of: dict[tuple[str, ...], list[int]] = {}
    for row in range(len(block.time_us)):
        names = tuple(name for name, column in block.values.items() if column[row] is not None)
        rows_of.setdefault(names, []).append(row)
    return [
        DeviceBlock(
            device=block.device,
            time_us=[block.time_us[row] for row in rows],
            values={name: [block.values[name][row] for row in rows] for name in names},
            flags=None if block.flags is None else [block.flags[row] for row in rows],
            interval_ms=block.interval_ms,
        )
        for names, rows in rows_of.items()
    ]


def _times(time_us: list[int], interval_ms: Sequence[int], shape: Shape) -> Column:
    decimals = 0 if any(time % 1000 for time in time_us) else 3
    unit = 10**decimals
    times = [time // unit for time in time_us] if decimals else time_us
    try:
        return integers(times, decimals, shape, [each * 1000 // unit for each in interval_ms])
    except OverflowError:
        return Column(decimals, plain=[*times])


def _column(name: str, values: list[int | float], shape: Shape) -> Column:
    quantity = BY_NAME.get(name)
    if quantity is not None:
        scale = 10**quantity.decimals
        try:
            scaled = [round(value * scale) for value in values]
            # What is not its integer, scaled back, is written as it is.
            if (scaled if scale == 1 else list(map(truediv, scaled, repeat(scale)))) == values:
                return integers(scaled, quantity.decimals, shape)
        except (ValueError, OverflowError):
            pass
    return Column(0, plain=values)


def unpack_flat(group: Group, where: str = "$") -> Flat:
    """The readings of `group`. Raises BatchError, under `where`, for what does not fit together."""
    if not len(group.devices) == len(group.counts) == len(group.interval_ms):
        raise BatchError(where, "devices, counts and intervals differ in number", "give each device one of both")
    if not group.counts or 0 in group.counts or len(group.quantities) != len(group.columns):
        raise BatchError(where, "an empty device, or quantities without columns", "leave them out")
    if max(group.interval_ms) >= INTERVAL_LIMIT:
        raise BatchError(f"{where}.interval_ms", "an interval beyond 31 bits", "give milliseconds")
    shape = Shape(group.counts)
    unit = scale_of(group.time, f"{where}.time")
    steps = [interval_ms * 1000 // unit for interval_ms in group.interval_ms]
    times = numbers_of(group.time, shape, f"{where}.time", steps)
    time_us = [time * unit for time in times] if unit > 1 else times
    if max(max(time_us), -min(time_us)) > TIME_LIMIT:
        raise BatchError(f"{where}.time", "a time beyond 62 bits", "give microseconds since 1970")
    flags = [0] * len(time_us) if group.flags is None else numbers_of(group.flags, shape, f"{where}.flags")
    if not 0 <= min(flags) <= max(flags) < FLAG_LIMIT:
        raise BatchError(f"{where}.flags", "a flag beyond 15 bits", "send the flags of this contract")
    values = {
        name: _values(column, shape, f"{where}.{name[:70]}")
        for name, column in zip(group.quantities, group.columns, strict=True)
    }
    return Flat(group.devices, group.counts, group.interval_ms, time_us, flags, values)


def _values(column: Column, shape: Shape, where: str) -> list[int | float]:
    if column.plain is not None:
        return as_many(column.plain, shape, where)
    scale = scale_of(column, where)
    numbers = numbers_of(column, shape, where)
    # Registers are integers, and stay it.
    return [number / scale for number in numbers] if scale > 1 else [*numbers]
