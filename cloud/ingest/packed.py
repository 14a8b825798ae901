"""The packed form straight into arrays, at a tenth of what `contract.packed` costs, and the same to the bit.

Only what is sound in every respect is read here. For the rest `read` returns None, and the contract's own reader says
what is wrong with it, or makes of it what it is: a batch whose numbers pass 64 bits, for one.
"""

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.ingest.portion import Contents, Numbers, Portion
from contract.batch import QUANTITY, STREAM
from contract.codec import MOST_GROUPS, Bounds
from contract.columns import Column
from contract.notes import Note
from contract.packed import MOST_DEVICES, MOST_QUANTITIES
from contract.quantities import BY_NAME
from contract.terms import DEVICE_KEY, FLAG_LIMIT, INTERVAL_LIMIT, MAX_DEVICE_KEY, TIME_LIMIT, Seq

Ints = NDArray[np.int64]

_UNSIGNED = {2: "<u2", 4: "<u4", 8: "<u8"}
# Sums below it leave room for one more of their kind in 64 bits.
_SAFE = 2**62
# Integers up to it are doubles.
_EXACT = 2**53
# An array costs as much as a list of so many; beyond a few groups of fewer readings, lists are cheaper.
_FEW_GROUPS, _FEW_READINGS = 50, 20
_PLAIN_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
_Devices = msgspec.Meta(max_length=MOST_DEVICES)


class _Group(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """`contract.packed.Group`, but that names and counts are looked at together and not one by one."""

    devices: Annotated[list[str], _Devices]
    counts: Annotated[list[int], _Devices]
    interval_ms: Annotated[list[int], _Devices]
    time: Column
    flags: Column | None
    quantities: Annotated[list[str], msgspec.Meta(max_length=MOST_QUANTITIES)]
    columns: Annotated[list[Column], msgspec.Meta(max_length=MOST_QUANTITIES)]


class _Packed(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    version: Literal[2]
    stream: str
    seq: Seq
    notes: list[Note]
    groups: Annotated[list[_Group], msgspec.Meta(max_length=MOST_GROUPS)]


_DECODER = msgspec.msgpack.Decoder(_Packed)


class _Unusual(Exception):
    """Left to the contract's reader."""


def read(body: bytes, bounds: Bounds) -> Contents | None:
    """The batch in `body`, None where the contract's reader has to look at it. Raises TooMany."""
    try:
        found = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    try:
        for group in found.groups:
            _check(group)
        readings = sum(sum(group.counts) for group in found.groups)
        bounds.check(readings, sum(len(group.devices) * (1 + len(group.columns)) for group in found.groups))
        if not STREAM.match(found.stream) or len(found.groups) > max(_FEW_GROUPS, readings // _FEW_READINGS):
            raise _Unusual
        read_groups = [_portion(group) for group in found.groups]
    except _Unusual:
        return None
    return Contents(2, found.stream, found.seq, found.notes, read_groups)


def _check(group: _Group) -> None:
    """Raises _Unusual where the lists do not fit together or a name is no name."""
    counts, intervals, names = group.counts, group.interval_ms, group.quantities
    fitting = len(group.devices) == len(counts) == len(intervals) > 0 and len(names) == len(group.columns)
    if (
        not fitting
        or not 1 <= min(counts) <= max(counts) < 2**63
        or not 0 <= min(intervals) <= max(intervals) < INTERVAL_LIMIT
    ):
        raise _Unusual
    if len(set(names)) != len(names) or not all(name in BY_NAME or QUANTITY.match(name) for name in names):
        raise _Unusual
    if not _are_keys(group.devices):
        raise _Unusual


def _are_keys(devices: list[str]) -> bool:
    """Whether all are keys of devices; nearly always the one look at all letters together says it."""
    if not min(map(len, devices)) or max(map(len, devices)) > MAX_DEVICE_KEY:
        return False
    letters = "".join(devices)
    if letters.isascii() and not letters.encode().translate(None, _PLAIN_NAME):
        return True
    return all(map(DEVICE_KEY.match, devices))


class _Shape:
    """Where in a flat column each device begins."""

    def __init__(self, counts: list[int]) -> None:
        self.devices, self.readings, self.most = len(counts), sum(counts), max(counts)
        # Mostly all devices have as many readings, and a column is a rectangle.
        self.even = counts.count(counts[0]) == len(counts)
        if not self.even:
            self.counts = np.array(counts, dtype=np.int64)
            ends = np.cumsum(self.counts)
            self.starts = ends - self.counts
            self.first = np.zeros(self.readings, dtype=np.bool_)
            self.first[self.starts] = True


def _portion(group: _Group) -> Portion:
    shape = _Shape(group.counts)
    return Portion(
        devices=group.devices,
        counts=group.counts,
        interval_ms=group.interval_ms,
        time_us=_times(group, shape),
        flags=None if group.flags is None else _flags(group.flags, shape),
        columns={name: _numbers(column, shape) for name, column in zip(group.quantities, group.columns, strict=True)},
    )


def _times(group: _Group, shape: _Shape) -> Ints:
    if not 0 <= group.time.decimals <= 6:
        raise _Unusual
    unit = 10**group.time.decimals
    intervals = group.interval_ms
    if intervals.count(intervals[0]) == len(intervals):
        times = _integers(group.time, shape, intervals[0] * 1000 // unit)
    else:
        times = _integers(group.time, shape, np.array(intervals, dtype=np.int64) * 1000 // unit)
    if max(int(times.max()), -int(times.min())) > TIME_LIMIT // unit:
        raise _Unusual
    return times * unit if unit > 1 else times


def _flags(column: Column, shape: _Shape) -> NDArray[np.int16]:
    flags = _integers(column, shape, 0)
    if not 0 <= flags.min() <= flags.max() < FLAG_LIMIT:
        raise _Unusual
    return flags.astype(np.int16)


def _numbers(column: Column, shape: _Shape) -> Numbers:
    if column.plain is not None:
        if len(column.plain) != shape.readings:
            raise _Unusual
        return column.plain
    if not 0 <= column.decimals <= 6:
        raise _Unusual
    integers = _integers(column, shape, 0)
    if not column.decimals:
        return integers
    if max(int(integers.max()), -int(integers.min())) > _EXACT:
        raise _Unusual
    return integers / 10**column.decimals


def _integers(column: Column, shape: _Shape, step: int | Ints) -> Ints:
    """The integers of a column that is not plain; `step` is added to each difference, or each device's own is."""
    if column.plain is not None:
        raise _Unusual
    positive = _positive(column.first_width, column.firsts, shape.devices)
    rest = _positive(column.rest_width, column.rest, shape.readings - shape.devices)
    largest_step = step if isinstance(step, int) else int(step.max())
    sums = abs(column.low) + _bound(column.first_width, positive)
    sums += ((_bound(column.rest_width, rest) >> 1) + 1 + largest_step) * (shape.most - 1)
    if sums >= _SAFE:
        raise _Unusual
    firsts = positive.astype(np.int64)
    firsts += column.low
    if shape.most == 1:
        return firsts
    folded = rest.astype(np.int64)
    odd = folded & 1
    folded >>= 1
    folded ^= -odd
    return _summed(firsts, folded, shape, step)


def _summed(firsts: Ints, differences: Ints, shape: _Shape, step: int | Ints) -> Ints:
    """Each device's first, and the sums of it and its differences."""
    if shape.even:
        flat = np.empty((shape.devices, shape.most), dtype=np.int64)
        flat[:, 0] = firsts
        flat[:, 1:] = differences.reshape(shape.devices, -1)
        if not isinstance(step, int):
            flat[:, 1:] += step[:, np.newaxis]
        elif step:
            flat[:, 1:] += step
        np.cumsum(flat, axis=1, out=flat)
        return flat.ravel()
    out = np.empty(shape.readings, dtype=np.int64)
    if isinstance(step, int):
        out[~shape.first] = differences + step
    else:
        out[~shape.first] = differences + np.repeat(step, shape.counts - 1)
    out[shape.starts] = firsts
    # One sum over all devices may pass 64 bits; it wraps, and what is taken off again unwraps it.
    np.cumsum(out, out=out)
    before = np.concatenate(([0], out[shape.starts[1:] - 1]))
    out -= np.repeat(before, shape.counts)
    return out


def _positive(width: int, planes: bytes, count: int) -> NDArray[np.unsignedinteger]:
    if width * count != len(planes) or (count and width not in (1, 2, 4, 8)):
        raise _Unusual
    raw = np.frombuffer(planes, dtype=np.uint8)
    if width == 1 or not count:
        return raw
    return np.ascontiguousarray(raw.reshape(width, count).T).view(_UNSIGNED[width]).ravel()


def _bound(width: int, numbers: NDArray[np.unsignedinteger]) -> int:
    """At least the largest of `numbers`."""
    if not len(numbers):
        return 0
    return int(numbers.max()) if width == 8 else int(2 ** (8 * width))
