"""A column of integers, packed: firsts and differences of each device, byte plane by byte plane.

Of each device the first value is kept, less the lowest of them, and the difference of each further one to that before
it. Differences are folded to be positive (0, -1, 1, -2 … become 0, 1, 2, 3 …). All are written in the smallest of 1, 2,
4 and 8 bytes that holds them: first the lowest byte of each, then the next. So bytes that are alike lie together, and
zstd finds little else to say about them.
"""

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain, repeat
from operator import add, sub

import msgspec

from contract.batch import BatchError

_TYPE_OF_WIDTH = {1: "B", 2: "H", 4: "I", 8: "Q"}
# Beyond this, a difference folded to be positive does not fit 64 bits.
_LARGEST = 2**61


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


class Shape:
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


def integers(numbers: list[int], decimals: int, shape: Shape, steps: Sequence[int] = ()) -> Column:
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


def scale_of(column: Column, where: str) -> int:
    if not 0 <= column.decimals <= 6:
        raise BatchError(where, f"{column.decimals} decimals", "a column has 0 to 6")
    return int(10**column.decimals)


def numbers_of(column: Column, shape: Shape, where: str, steps: Sequence[int] = ()) -> list[int]:
    """The integers of a column."""
    if column.plain is not None:
        whole = [number for number in as_many(column.plain, shape, where) if isinstance(number, int)]
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


def as_many(plain: list[int | float], shape: Shape, where: str) -> list[int | float]:
    if len(plain) != sum(shape.counts):
        raise BatchError(where, f"{len(plain)} values", f"the group has {sum(shape.counts)} readings")
    return plain
