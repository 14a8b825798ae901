"""The packed form of readings: scaled integers, as differences, byte plane by byte plane.

Readings with the same quantities are one group, device after device. A column is integers: a value times ten to the
power of the column's decimals. Of each device the first value is kept, and the difference of each further one to that
before it. Differences are folded to be positive (0, -1, 1, -2 … become 0, 1, 2, 3 …) and written in the smallest of
1, 2, 4 and 8 bytes that holds them all: first the lowest byte of each, then the next. So bytes that are alike lie
together, and zstd finds little else to say about them. A column that is not exactly such integers is written as it is.

Times are differences too, less the device's interval, in milliseconds where all of them are.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from operator import sub

import msgspec

from contract.batch import BatchError, DeviceBlock
from contract.quantities import BY_NAME
from contract.terms import Count, DeviceKey, Number

_TYPE_OF_WIDTH = {1: "B", 2: "H", 4: "I", 8: "Q"}
# Beyond this, a difference folded to be positive does not fit 64 bits.
_LARGEST = 2**61
_TIME_LIMIT = 2**62
_FLAG_LIMIT = 2**15


class Column(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """One column of a group. `firsts` and `rest` are planes of integers of `first_width` and `rest_width` bytes.

    `plain` instead, where the values are no integers: as many as the group has readings.
    """

    decimals: int
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


def pack(blocks: Iterable[DeviceBlock]) -> list[Group]:
    """`blocks` as groups. Every value comes back as it is; a null is told by the quantities of the reading's group."""
    alike: dict[tuple[str, ...], list[DeviceBlock]] = {}
    for block in chain.from_iterable(map(_without_nulls, blocks)):
        alike.setdefault(tuple(block.values), []).append(block)
    return [_group(names, members) for names, members in alike.items()]


def unpack(groups: Sequence[Group], where: str = "$") -> list[DeviceBlock]:
    """The blocks of `groups`, one a device and group. Raises BatchError, under `where`, for what does not fit."""
    return list(chain.from_iterable(_blocks(group, f"{where}[{number}]") for number, group in enumerate(groups)))


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


def _group(names: tuple[str, ...], blocks: list[DeviceBlock]) -> Group:
    flagged = any(block.flags and any(block.flags) for block in blocks)
    return Group(
        devices=[block.device for block in blocks],
        counts=[len(block.time_us) for block in blocks],
        interval_ms=[block.interval_ms for block in blocks],
        time=_times(blocks),
        flags=_integers([block.flags or [0] * len(block.time_us) for block in blocks], 0) if flagged else None,
        quantities=list(names),
        columns=[_column(name, [block.values[name] for block in blocks]) for name in names],
    )


def _times(blocks: list[DeviceBlock]) -> Column:
    decimals = 0 if any(time_us % 1000 for block in blocks for time_us in block.time_us) else 3
    unit = 10**decimals
    rows, steps = [], []
    for block in blocks:
        rows.append([time_us // unit for time_us in block.time_us] if decimals else block.time_us)
        steps.append(block.interval_ms * 1000 // unit)
    try:
        return _integers(rows, decimals, steps)
    except OverflowError:
        return Column(decimals, plain=list(chain.from_iterable(rows)))


def _column(name: str, rows: Sequence[Sequence[Number]]) -> Column:
    quantity = BY_NAME.get(name)
    if quantity is not None:
        scale = 10**quantity.decimals
        try:
            # What is not its integer, scaled back, is written as it is.
            scaled = [[round(value * scale) for value in row] for row in rows]
            if all([number / scale for number in some] == row for some, row in zip(scaled, rows, strict=True)):
                return _integers(scaled, quantity.decimals)
        except (ValueError, OverflowError):
            pass
    return Column(0, plain=[value for row in rows for value in row if value is not None])


def _integers(rows: Sequence[Sequence[int]], decimals: int, steps: Sequence[int] | None = None) -> Column:
    """The rows of each device as firsts and differences, these less the device's step. Raises OverflowError."""
    if max(max(map(max, rows)), -min(map(min, rows))) >= _LARGEST:
        raise OverflowError("a difference may not fit 64 bits")
    firsts = [row[0] for row in rows]
    if steps is None:
        rest = list(chain.from_iterable(map(sub, row[1:], row) for row in rows))
    else:
        rest = [
            later - earlier - step
            for row, step in zip(rows, steps, strict=True)
            for later, earlier in zip(row[1:], row, strict=False)
        ]
    return Column(decimals, *_planes([firsts[0], *map(sub, firsts[1:], firsts)]), *_planes(rest))


def _planes(numbers: list[int]) -> tuple[int, bytes]:
    """Width and bytes of `numbers`, folded to be positive."""
    if not numbers:
        return 0, b""
    folded = [(number << 1) ^ (number >> 63) for number in numbers]
    width = next(width for width in _TYPE_OF_WIDTH if max(folded) < 1 << 8 * width)
    items = array(_TYPE_OF_WIDTH[width], folded)
    if sys.byteorder == "big":
        items.byteswap()
    raw = items.tobytes()
    return width, raw if width == 1 else b"".join(raw[byte::width] for byte in range(width))


def _blocks(group: Group, where: str) -> list[DeviceBlock]:
    if not len(group.devices) == len(group.counts) == len(group.interval_ms):
        raise BatchError(where, "devices, counts and intervals differ in number", "give each device one of both")
    if not group.counts or 0 in group.counts or len(group.quantities) != len(group.columns):
        raise BatchError(where, "an empty device, or quantities without columns", "leave them out")
    if any(interval_ms >= 2**31 for interval_ms in group.interval_ms):
        raise BatchError(f"{where}.interval_ms", "an interval beyond 31 bits", "give milliseconds")
    unit = _scale(group.time, f"{where}.time")
    steps = [interval_ms * 1000 // unit for interval_ms in group.interval_ms]
    times = _numbers(group.time, group.counts, f"{where}.time", steps)
    if unit > 1:
        times = [[time * unit for time in row] for row in times]
    if any(abs(time) > _TIME_LIMIT for row in times for time in (min(row), max(row))):
        raise BatchError(f"{where}.time", "a time beyond 62 bits", "give microseconds since 1970")
    flags: Sequence[list[int] | None] = [None] * len(group.counts)
    if group.flags is not None:
        flags = _numbers(group.flags, group.counts, f"{where}.flags")
        if any(not 0 <= flag < _FLAG_LIMIT for row in flags if row for flag in (min(row), max(row))):
            raise BatchError(f"{where}.flags", "a flag beyond 15 bits", "send the flags of this contract")
    columns = [
        _values(name, column, group.counts, f"{where}.{name[:70]}")
        for name, column in zip(group.quantities, group.columns, strict=True)
    ]
    return [
        DeviceBlock(
            device=device,
            time_us=times[place],
            values={name: values[place] for name, values in zip(group.quantities, columns, strict=True)},
            flags=flags[place],
            interval_ms=group.interval_ms[place],
        )
        for place, device in enumerate(group.devices)
    ]


def _scale(column: Column, where: str) -> int:
    if not 0 <= column.decimals <= 6:
        raise BatchError(where, f"{column.decimals} decimals", "a column has 0 to 6")
    return int(10**column.decimals)


def _values(name: str, column: Column, counts: Sequence[int], where: str) -> list[list[Number]]:
    if column.plain is not None:
        return _split(column.plain, counts, where)
    scale = _scale(column, where)
    rows = _numbers(column, counts, where)
    # Registers are integers, and stay it.
    return [[number / scale if scale > 1 else number for number in row] for row in rows]


def _numbers(column: Column, counts: Sequence[int], where: str, steps: Sequence[int] | None = None) -> list[list[int]]:
    """The integers of a column, a row for each device."""
    if column.plain is not None:
        plain = _split(column.plain, counts, where)
        whole = [[number for number in row if isinstance(number, int)] for row in plain]
        if list(map(len, whole)) != list(counts):
            raise BatchError(where, "a number with a fraction", "send integers")
        return whole
    firsts = list(accumulate(_unfolded(column.first_width, column.firsts, len(counts), where)))
    rest = _unfolded(column.rest_width, column.rest, sum(counts) - len(counts), where)
    rows, at = [], 0
    for place, count in enumerate(counts):
        differences = rest[at : at + count - 1]
        at += count - 1
        if steps is not None and steps[place]:
            step = steps[place]
            differences = [difference + step for difference in differences]
        rows.append(list(accumulate(differences, initial=firsts[place])))
    return rows


def _unfolded(width: int, planes: bytes, count: int, where: str) -> list[int]:
    if width * count != len(planes) or (count and width not in _TYPE_OF_WIDTH):
        raise BatchError(where, f"{len(planes)} bytes", f"{count} numbers of 1, 2, 4 or 8 bytes belong here")
    if not count:
        return []
    raw = planes
    if width > 1:
        whole = bytearray(len(planes))
        for byte in range(width):
            whole[byte::width] = planes[byte * count : (byte + 1) * count]
        raw = bytes(whole)
    items = array(_TYPE_OF_WIDTH[width])
    items.frombytes(raw)
    if sys.byteorder == "big":
        items.byteswap()
    return [(number >> 1) ^ -(number & 1) for number in items]


def _split(plain: Sequence[Number], counts: Sequence[int], where: str) -> list[list[Number]]:
    if len(plain) != sum(counts):
        raise BatchError(where, f"{len(plain)} values", f"the group has {sum(counts)} readings")
    ends = list(accumulate(counts))
    return [list(plain[end - count : end]) for end, count in zip(ends, counts, strict=True)]
