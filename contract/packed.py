"""The packed form of readings: scaled integers, as differences, byte plane by byte plane.

Readings with the same quantities are one group, device after device. A column is integers: a value times ten to the
power of the column's decimals. Of each device the first value is kept, less the lowest of them, and the difference of
each further one to that before it. Differences are folded to be positive (0, -1, 1, -2 … become 0, 1, 2, 3 …). All are
written in the smallest of 1, 2, 4 and 8 bytes that holds them: first the lowest byte of each, then the next. So bytes
that are alike lie together, and zstd finds little else to say about them. A column that is not exactly such integers is
written as it is.

Times are differences too, less the device's interval, in milliseconds where all of them are.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, repeat
from operator import add, sub, truediv

import msgspec

from contract.batch import BatchError, DeviceBlock
from contract.quantities import BY_NAME
from contract.terms import Count, DeviceKey

_TYPE_OF_WIDTH = {1: "B", 2: "H", 4: "I", 8: "Q"}
# Beyond this, a difference folded to be positive does not fit 64 bits.
_LARGEST = 2**61
_TIME_LIMIT = 2**62
_FLAG_LIMIT = 2**15


class Column(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """One column of a group. `firsts`, less `low`, and `rest` are planes of integers of that many bytes each.

    `plain` instead, where the values are no integers: as many as the group has readings.
    """

    decimals: int
    low: int = 0
    first_width: int = 0
    firsts: bytes = b""
    rest_width: int = 0
    rest: bytes = b""
    plain: list[int | float] | None = None


class Group(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Readings with the same quantities: `counts[i]` of `devices[i]`, whose interval is `interval_ms[i]`.

    `time` has `decimals` 0 for microseconds and 3 for milliseconds; `flags` is None when all are 0.
    """

    devices: list[DeviceKey]
    counts: list[Count]
    interval_ms: list[Count]
    time: Column
    flags: Column | None
    quantities: list[str]
    columns: list[Column]

    @property
    def readings(self) -> int:
        return sum(self.counts)


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
        shape = _Shape(self.counts)
        return Group(
            devices=self.devices,
            counts=self.counts,
            interval_ms=self.interval_ms,
            time=_times(self.time_us, self.interval_ms, shape),
            flags=_integers(self.flags, 0, shape) if any(self.flags) else None,
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


class _Shape:
    """Where in a flat column each device begins."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        # Mostly all devices have as many readings, and slices do.
        self.each = counts[0] if len(set(counts)) == 1 else 0
        self.starts = [] if self.each else list(accumulate(counts[:-1], initial=0))

    def firsts(self, flat: list[int]) -> list[int]:
        return flat[:: self.each] if self.each else [flat[start] for start in self.starts]

    def differences(self, flat: list[int]) -> list[int]:
        """Of each reading but a device's first to the one before."""
        if self.each == 1:
            return []
        found = list(map(sub, flat[1:], flat))
        if self.each:
            del found[self.each - 1 :: self.each]
        else:
            for start in reversed(self.starts[1:]):
                del found[start - 1]
        return found

    def sums(self, firsts: list[int], rest: list[int]) -> list[int]:
        """The flat column that has these firsts and differences."""
        if self.each == 1:
            return firsts
        out: list[int] = []
        end = 0
        for first, count in zip(firsts, self.counts, strict=True):
            begin, end = end, end + count - 1
            out += accumulate(rest[begin:end], initial=first)
        return out


def _times(time_us: list[int], interval_ms: Sequence[int], shape: _Shape) -> Column:
    decimals = 0 if any(time % 1000 for time in time_us) else 3
    unit = 10**decimals
    times = [time // unit for time in time_us] if decimals else time_us
    try:
        return _integers(times, decimals, shape, [each * 1000 // unit for each in interval_ms])
    except OverflowError:
        return Column(decimals, plain=[*times])


def _column(name: str, values: list[int | float], shape: _Shape) -> Column:
    quantity = BY_NAME.get(name)
    if quantity is not None:
        scale = 10**quantity.decimals
        try:
            scaled = [round(value * scale) for value in values]
            # What is not its integer, scaled back, is written as it is.
            if (scaled if scale == 1 else list(map(truediv, scaled, repeat(scale)))) == values:
                return _integers(scaled, quantity.decimals, shape)
        except (ValueError, OverflowError):
            pass
    return Column(0, plain=values)


def _integers(numbers: list[int], decimals: int, shape: _Shape, steps: Sequence[int] = ()) -> Column:
    """Firsts and differences, these less the device's step. Raises OverflowError."""
    low = min(numbers)
    if max(max(numbers), -low) >= _LARGEST:
        raise OverflowError("a difference may not fit 64 bits")
    if shape.each == 1:
        return Column(decimals, low, *_planes([number - low for number in numbers]))
    firsts, rest = shape.firsts(numbers), shape.differences(numbers)
    if rest and any(steps):
        each = chain.from_iterable(repeat(step, count - 1) for step, count in zip(steps, shape.counts, strict=True))
        rest = list(map(sub, rest, each))
    low = min(firsts)
    return Column(
        decimals,
        low,
        *_planes([first - low for first in firsts]),
        *_planes([(number << 1) ^ (number >> 63) for number in rest]),
    )


def _planes(numbers: list[int]) -> tuple[int, bytes]:
    """Width and bytes of `numbers`, none of them negative."""
    if not numbers:
        return 0, b""
    largest = max(numbers)
    width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4 if largest < 1 << 32 else 8
    items = array(_TYPE_OF_WIDTH[width], numbers)
    if sys.byteorder == "big":
        items.byteswap()
    raw = items.tobytes()
    return width, raw if width == 1 else b"".join([raw[byte::width] for byte in range(width)])


def unpack_flat(group: Group, where: str = "$") -> Flat:
    """The readings of `group`. Raises BatchError, under `where`, for what does not fit together."""
    if not len(group.devices) == len(group.counts) == len(group.interval_ms):
        raise BatchError(where, "devices, counts and intervals differ in number", "give each device one of both")
    if not group.counts or 0 in group.counts or len(group.quantities) != len(group.columns):
        raise BatchError(where, "an empty device, or quantities without columns", "leave them out")
    if max(group.interval_ms) >= 2**31:
        raise BatchError(f"{where}.interval_ms", "an interval beyond 31 bits", "give milliseconds")
    shape = _Shape(group.counts)
    unit = _scale(group.time, f"{where}.time")
    steps = [interval_ms * 1000 // unit for interval_ms in group.interval_ms]
    times = _numbers(group.time, shape, f"{where}.time", steps)
    time_us = [time * unit for time in times] if unit > 1 else times
    if max(max(time_us), -min(time_us)) > _TIME_LIMIT:
        raise BatchError(f"{where}.time", "a time beyond 62 bits", "give microseconds since 1970")
    flags = [0] * len(time_us) if group.flags is None else _numbers(group.flags, shape, f"{where}.flags")
    if not 0 <= min(flags) <= max(flags) < _FLAG_LIMIT:
        raise BatchError(f"{where}.flags", "a flag beyond 15 bits", "send the flags of this contract")
    values = {
        name: _values(column, shape, f"{where}.{name[:70]}")
        for name, column in zip(group.quantities, group.columns, strict=True)
    }
    return Flat(group.devices, group.counts, group.interval_ms, time_us, flags, values)


def _scale(column: Column, where: str) -> int:
    if not 0 <= column.decimals <= 6:
        raise BatchError(where, f"{column.decimals} decimals", "a column has 0 to 6")
    return int(10**column.decimals)


def _values(column: Column, shape: _Shape, where: str) -> list[int | float]:
    if column.plain is not None:
        return _as_many(column.plain, shape, where)
    scale = _scale(column, where)
    numbers = _numbers(column, shape, where)
    # Registers are integers, and stay it.
    return [number / scale for number in numbers] if scale > 1 else [*numbers]


def _numbers(column: Column, shape: _Shape, where: str, steps: Sequence[int] = ()) -> list[int]:
    """The integers of a column."""
    if column.plain is not None:
        whole = [number for number in _as_many(column.plain, shape, where) if isinstance(number, int)]
        if len(whole) != len(column.plain):
            raise BatchError(where, "a number with a fraction", "send integers")
        return whole
    low = column.low
    firsts = [first + low for first in _positive(column.first_width, column.firsts, len(shape.counts), where)]
    folded = _positive(column.rest_width, column.rest, sum(shape.counts) - len(shape.counts), where)
    rest = [(number >> 1) ^ -(number & 1) for number in folded]
    if rest and any(steps):
        each = chain.from_iterable(repeat(step, count - 1) for step, count in zip(steps, shape.counts, strict=True))
        rest = list(map(add, rest, each))
    return shape.sums(firsts, rest)


def _positive(width: int, planes: bytes, count: int, where: str) -> Sequence[int]:
    if width * count != len(planes) or (count and width not in _TYPE_OF_WIDTH):
        raise BatchError(where, f"{len(planes)} bytes", f"{count} numbers of 1, 2, 4 or 8 bytes belong here")
    if not count:
        return ()
    if width == 1:
        return planes
    whole = bytearray(len(planes))
    for byte in range(width):
        whole[byte::width] = planes[byte * count : (byte + 1) * count]
    items = array(_TYPE_OF_WIDTH[width])
    items.frombytes(bytes(whole))
    if sys.byteorder == "big":
        items.byteswap()
    return items


def _as_many(plain: list[int | float], shape: _Shape, where: str) -> list[int | float]:
    if len(plain) != sum(shape.counts):
        raise BatchError(where, f"{len(plain)} values", f"the group has {sum(shape.counts)} readings")
    return plain
