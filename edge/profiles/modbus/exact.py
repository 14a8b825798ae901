"""The rows that the decoder may take the short way: whose canonical value is one rounded product, over a constant."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from contract.quantities import BY_NAME, Kind
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.words import FORMAT

# Integers up to here are doubles, and so are the products of a float32 that stay below.
_EXACT = 2**53
_FLOAT32 = 2**24
_INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
# A double this large has no room for a fraction: adding it and taking it away rounds, half to even, in half the time
# that `round` takes. What is rounded so is less than 2**51, by the bounds of each row.
_WHOLE = 1.5 * 2.0**52

# A row whose raw numbers from `low` to `high` become `round(raw * factor) / divisor`, just as the plain way has it:
# name, low, high, factor, divisor, row. The divisor is 0 for a register of energy, which stays an integer; the numbers
# of other rows are floats, as is what they lead to. A bare tuple: this is unpacked for every value, and of a named one
# that takes twice as long.
ExactRow = tuple[str, float, float, float, float, Register]


class Group(NamedTuple):
    """Rows of a block that `unpack` takes apart, after the bytes of each register were `swapped` or not.

    `values` makes their values of all raw numbers at once, or None where one of them is beyond its row's bounds.
    """

    numbers: struct.Struct
    swapped: bool
    rows: tuple[ExactRow, ...]
    values: Callable[[Sequence[float]], dict[str, int | float] | None]


def is_exact(row: Register) -> bool:
    """Whether the short way is open to `row`: integers over a power of ten, and float32 that lose no bit."""
    if row.bits or row.offset or row.encoding != "plain" or row.scale_factor is not None:
        return False
    powers = _powers(row)
    if row.type == "float32":
        # What is NaN or infinity never comes between low and high; a finite pattern might.
        finite = any(pattern >> 23 & 0xFF != 0xFF for pattern in row.invalid)
        return row.divisor == 1 and abs(row.scale) * powers[-1] * _FLOAT32 <= _EXACT and not finite
    return row.type in _INTEGERS and row.divisor in powers


def groups(block: Block) -> Iterator[Group]:
    """The exact rows of `block` by how their bytes lie."""
    exact = [row for row in block.registers if isinstance(row, Register) and is_exact(row)]
    for order, swapped in sorted({_layout(row) for row in exact}):
        rows = [row for row in exact if _layout(row) == (order, swapped)]
        letters, position = order, block.address
        for row in rows:
            letters += f"{2 * (row.address - position)}x{FORMAT[row.type]}"
            position = row.end
        letters += f"{2 * (block.address + block.count - position)}x"
        exact_rows = tuple(map(_exact_row, rows))
        yield Group(struct.Struct(letters), swapped, exact_rows, _written_out(exact_rows))


def value(raw: float, factor: float, divisor: float) -> int | float:
    """What a raw number within the bounds of its row becomes."""
    return (raw * factor + _WHOLE - _WHOLE) / divisor if divisor else round(raw * factor)


def _written_out(rows: Sequence[ExactRow]) -> Callable[[Sequence[float]], dict[str, int | float] | None]:
    """`value` of each row, without a loop and with its numbers in it: half the time, for every reply that comes."""
    raws = [f"r{place}" for place in range(len(rows))]
    within = " and ".join(f"{low!r} <= {raw} <= {high!r}" for raw, (_, low, high, *_) in zip(raws, rows, strict=True))
    values = ", ".join(
        f"{name!r}: ({raw} * {factor!r} + {_WHOLE!r} - {_WHOLE!r}) / {divisor!r}"
        if divisor
        else f"{name!r}: round({raw} * {factor!r})"
        for raw, (name, _, _, factor, divisor, _) in zip(raws, rows, strict=True)
    )
    # Of a profile only numbers are in it, and names of quantities, of which there is a list.
    made: dict[str, Callable[[Sequence[float]], dict[str, int | float] | None]] = {}
    exec(f"def values(raws):\n {', '.join(raws)}, = raws\n return {{{values}}} if {within} else None\n", made)
    return made["values"]


def _layout(row: Register) -> tuple[str, bool]:
    """The byte order of `struct` that reads the row, and whether the bytes of each register are swapped before."""
    return ("<" if row.word_order == "little" else ">", row.word_order != row.byte_order)


def _powers(row: Register) -> tuple[int, ...]:
    """The divisors that leave no more decimals than the quantity keeps, ascending."""
    quantity = BY_NAME[row.quantity]
    return tuple(10**places for places in range(quantity.decimals + 1))


def _exact_row(row: Register) -> ExactRow:
    low, high = _bounds(row)
    power = _powers(row)[-1]
    if BY_NAME[row.quantity].kind is Kind.CUMULATIVE:
        return row.quantity, low, high, row.scale, 0, row
    if row.type == "float32":
        return row.quantity, low, high, float(row.scale * power), float(power), row
    return row.quantity, low, high, float(row.scale), float(row.divisor), row


def _bounds(row: Register) -> tuple[float, float]:
    """The raw numbers around 0 that are no `invalid` pattern, fit every column, and have all decimals in a double."""
    largest = _EXACT // (10 * _powers(row)[-1]) // abs(row.scale)
    if row.type == "float32":
        # As floats: comparing a float with an integer takes longer.
        return -float(largest), float(largest)
    bits = 16 * row.width
    signed = row.type.startswith("s")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    low, high = max(low, -largest), min(high, largest)
    for pattern in row.invalid:
        value = pattern - (1 << bits) if signed and pattern >> bits - 1 else pattern
        low, high = (low, min(high, value - 1)) if value > 0 else (max(low, value + 1), high)
    return low, high
