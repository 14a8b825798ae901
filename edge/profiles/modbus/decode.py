"""Replies to values: rows compiled once for the blocks they are read in, as this is what a gateway does all day."""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from contract.quantities import BY_NAME, Kind
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.rows import Register, ScaleFactor
from edge.profiles.modbus.words import FORMAT, scale_exponent, swapped_bytes
from edge.reading import canonical

# Integers of a double: below, arithmetic on what a register can hold is exact.
_EXACT = 2**53
_FLOAT32_DIGITS = 2**24


class Decoded(msgspec.Struct):
    """`values` has the canonical value of every quantity that was read; `impossible` names those whose value no column
    can hold, as of a wrong word order."""

    values: dict[str, int | float]
    impossible: list[str]


class _Exact(NamedTuple):
    """A row whose raw numbers from `low` to `high` are `round(raw * factor) / divisor`, just as the plain way has it.

    `divisor` is 0 for a register of energy, which stays an integer.
    """

    name: str
    low: float
    high: float
    factor: int
    divisor: int
    row: Register
    start: int


class _Group(NamedTuple):
    """Rows of a block that one `struct` takes apart, after the bytes of each register were swapped or not."""

    numbers: struct.Struct
    swapped: bool
    rows: tuple[_Exact, ...]


class _Plain(NamedTuple):
    """A row for the plain way, with where its bytes and its power of ten are: reply, first byte."""

    row: Register
    reply: int
    start: int
    factor: ScaleFactor | None
    factor_reply: int | None
    factor_start: int


class Decoder:
    """The decoder of replies to `blocks`. A call takes the data bytes of each block, None where it failed."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = tuple(blocks)
        self._sizes = tuple(_size(block) for block in blocks)
        self._groups = tuple(tuple(_groups(block)) for block in blocks)
        self._plain = tuple(_plain(blocks))

    def __call__(self, replies: Sequence[bytes | None]) -> Decoded:
        """Raises ValueError when a reply is not as long as its block."""
        values: dict[str, int | float] = {}
        impossible: list[str] = []
        for data, size, groups in zip(replies, self._sizes, self._groups, strict=True):
            if data is None:
                continue
            if len(data) != size:
                raise ValueError(f"{len(data)} bytes for a block of {size}")
            for numbers, swapped, rows in groups:
                for raw, (name, low, high, factor, divisor, row, start) in zip(
                    numbers.unpack(swapped_bytes(data) if swapped else data), rows, strict=True
                ):
                    if low <= raw <= high:
                        values[name] = round(raw * factor) / divisor if divisor else round(raw * factor)
                    else:
                        _put(row, data[start : start + 2 * row.width], 0, values, impossible)
        for plain in self._plain:
            data = replies[plain.reply]
            if data is not None:
                _put(plain.row, _bytes(plain.row, plain.start, data), _exponent(plain, replies), values, impossible)
        return Decoded(values, impossible)


def _put(
    row: Register, data: bytes, exponent: int | None, values: dict[str, int | float], impossible: list[str]
) -> None:
    """The plain way of one row, which all the rest has to equal."""
    value = row.value(data, exponent)
    if value is not None:
        kept, refused = canonical({row.quantity: value})
        values.update(kept)
        impossible.extend(refused)


def _size(block: Block) -> int:
    return (block.count + 7) // 8 if block.function <= 2 else 2 * block.count


def _groups(block: Block) -> Iterable[_Group]:
    """The exact rows of a block by how their bytes lie."""
    exact = [row for row in block.registers if isinstance(row, Register) and _is_exact(row)]
    for order, swapped in sorted({_layout(row) for row in exact}):
        rows = [row for row in exact if _layout(row) == (order, swapped)]
        letters, position = order, 0
        for row in rows:
            start = row.address - block.address
            letters += f"{2 * (start - position)}x{FORMAT[row.type]}"
            position = start + row.width
        letters += f"{2 * (block.count - position)}x"
        yield _Group(struct.Struct(letters), swapped, tuple(_exact(row, block) for row in rows))


def _layout(row: Register) -> tuple[str, bool]:
    """The byte order of `struct` that reads the row, and whether the bytes of each register are swapped before."""
    return ("<" if row.word_order == "little" else ">", row.word_order != row.byte_order)


def _is_exact(row: Register) -> bool:
    """Whether the row's canonical value is a rounded product of integers, or of a float32 that no bit is lost of."""
    if row.bits or row.offset or row.encoding != "plain" or row.scale_factor is not None:
        return False
    quantity = BY_NAME[row.quantity]
    powers = (1,) if quantity.kind is Kind.CUMULATIVE else tuple(10**n for n in range(quantity.decimals + 1))
    if row.type == "float32":
        exact_product = abs(row.scale) * powers[-1] * _FLOAT32_DIGITS <= _EXACT
        return row.divisor == 1 and exact_product and not any(map(_is_finite_float32, row.invalid))
    return row.type in ("u16", "s16", "u32", "s32", "u64", "s64") and row.divisor in powers


def _exact(row: Register, block: Block) -> _Exact:
    quantity = BY_NAME[row.quantity]
    start = 2 * (row.address - block.address)
    low, high = _bounds(row)
    if quantity.kind is Kind.CUMULATIVE:
        return _Exact(row.quantity, low, high, row.scale, 0, row, start)
    if row.type == "float32":
        power = 10**quantity.decimals
        return _Exact(row.quantity, low, high, row.scale * power, power, row, start)
    return _Exact(row.quantity, low, high, row.scale, row.divisor, row, start)


def _bounds(row: Register) -> tuple[float, float]:
    """The raw numbers around 0 that mean something, fit every column, and are rounded exactly."""
    quantity = BY_NAME[row.quantity]
    # Beyond, a double has fewer decimals than the quantity, or an energy register more digits than a column.
    largest = _EXACT // 10 ** (quantity.decimals + 1) // abs(row.scale)
    if row.type == "float32":
        return -largest, largest
    bits = 16 * row.width
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if row.type.startswith("s") else (0, (1 << bits) - 1)
    low, high = max(low, -largest), min(high, largest)
    for pattern in row.invalid:
        value = pattern - (1 << bits) if low < 0 and pattern >> bits - 1 else pattern
        if value > 0:
            high = min(high, value - 1)
        else:
            low = max(low, value + 1)
    return low, high


def _is_finite_float32(pattern: int) -> bool:
    # All ones in the exponent are NaN or infinity, which are absent anyway.
    return pattern >> 23 & 0xFF != 0xFF


def _plain(blocks: Sequence[Block]) -> Iterable[_Plain]:
    """The rows that are no exact ones, with the places of their bytes."""
    places = {row.key: (reply, block) for reply, block in enumerate(blocks) for row in block.registers}
    for reply, block in enumerate(blocks):
        for row in block.registers:
            if isinstance(row, ScaleFactor) or _is_exact(row):
                continue
            factor = row.factor
            if factor is None:
                yield _Plain(row, reply, row.address - block.address, None, None, 0)
            elif factor.key in places:
                other, home = places[factor.key]
                yield _Plain(row, reply, row.address - block.address, factor, other, factor.address - home.address)
            else:
                yield _Plain(row, reply, row.address - block.address, factor, None, 0)


def _bytes(row: Register, start: int, data: bytes) -> bytes:
    """The row's own bytes in those of a reply; of a bit, a byte that is 0 or 1."""
    if row.type == "bool":
        return bytes([data[start // 8] >> start % 8 & 1])
    return data[2 * start : 2 * (start + row.width)]


def _exponent(plain: _Plain, replies: Sequence[bytes | None]) -> int | None:
    if plain.factor is None:
        return 0
    data = None if plain.factor_reply is None else replies[plain.factor_reply]
    if data is None:
        return None
    start = 2 * plain.factor_start
    return scale_exponent(data[start : start + 2], plain.factor.byte_order)
