"""Replies to values: rows compiled once for the blocks they are read in, as this is what a gateway does all day."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from edge.profiles.modbus.exact import groups, is_exact, value
from edge.profiles.modbus.plan import Block, Row
from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.words import scale_exponent, swapped_bytes
from edge.reading import canonical


class Decoded(msgspec.Struct):
    """`values` has the canonical value of every quantity that was read; `impossible` names those whose value no column
    can hold, as of a wrong word order."""

    values: dict[str, int | float]
    impossible: list[str]


class Place(NamedTuple):
    """Where a row's bytes are: in the reply to which block, and how many registers (bits) from its start."""

    reply: int
    offset: int


class _PlainRow(NamedTuple):
    row: Register
    place: Place
    factor_place: Place | None


class Decoder:
    """The decoder of replies to `blocks`. A call takes the data bytes of each block, None where it failed."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = tuple((block, _size(block), tuple(groups(block))) for block in blocks)
        places = dict(_places(blocks))
        self._plain = tuple(
            _PlainRow(row, places[row.key], None if row.factor is None else places.get(row.factor.key))
            for block in blocks
            for row in block.registers
            if isinstance(row, Register) and not is_exact(row)
        )

    def __call__(self, replies: Sequence[bytes | None]) -> Decoded:
        """Raises ValueError when a reply is not as long as its block."""
        values: dict[str, int | float] = {}
        impossible: list[str] = []
        for data, (block, size, exact) in zip(replies, self._blocks, strict=True):
            if data is None:
                continue
            if len(data) != size:
                raise ValueError(f"{len(data)} bytes for {block}; they have {size}")
            for numbers, swapped, rows, written_out in exact:
                raws = numbers.unpack(swapped_bytes(data) if swapped else data)
                found = written_out(raws)
                if found is not None:
                    values = values | found if values else found
                    continue
                for raw, (name, low, high, factor, divisor, row) in zip(raws, rows, strict=True):
                    if low <= raw <= high:
                        values[name] = value(raw, factor, divisor)
                    else:
                        _put(row, _cut(row, row.address - block.address, data), 0, values, impossible)
        for row, (reply, offset), factor_place in self._plain:
            data = replies[reply]
            if data is not None:
                _put(row, _cut(row, offset, data), _exponent(row, factor_place, replies), values, impossible)
        return Decoded(values, impossible)


def _put(
    row: Register, data: bytes, exponent: int | None, values: dict[str, int | float], impossible: list[str]
) -> None:
    """The plain way of one row, which the short way has to equal."""
    read = row.value(data, exponent)
    if read is not None:
        kept, refused = canonical({row.quantity: read})
        values.update(kept)
        impossible.extend(refused)


def _cut(row: Row, offset: int, data: bytes) -> bytes:
    """The row's own bytes in those of a reply; of a bit, a byte that is 0 or 1."""
    if row.type == "bool":
        return bytes([data[offset // 8] >> offset % 8 & 1])
    return data[2 * offset : 2 * (offset + row.width)]


def _exponent(row: Register, place: Place | None, replies: Sequence[bytes | None]) -> int | None:
    """The power of ten for `row`: 0 without a scale-factor register, None when that was not read or says nothing."""
    if row.scale_factor is None:
        return 0
    data = None if place is None else replies[place.reply]
    if place is None or data is None:
        return None
    return scale_exponent(data[2 * place.offset : 2 * place.offset + 2], row.byte_order)


def _size(block: Block) -> int:
    """Data bytes of a reply to `block`."""
    return (block.count + 7) // 8 if block.function <= 2 else 2 * block.count


def _places(blocks: Sequence[Block]) -> Iterator[tuple[str, Place]]:
    for reply, block in enumerate(blocks):
        for row in block.registers:
            yield row.key, Place(reply, row.address - block.address)
