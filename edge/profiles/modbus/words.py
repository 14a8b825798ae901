"""Bytes of registers to numbers and text. Pure; the bytes are those of a reply, as they stood on the wire."""

import struct
from typing import Literal

NumberType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "float32", "float64", "bcd16", "bcd32", "bcd64", "bool"]
FieldType = Literal[NumberType, "string"]
Order = Literal["big", "little"]

WIDTH: dict[str, int] = {
    "u16": 1,
    "s16": 1,
    "u32": 2,
    "s32": 2,
    "u64": 4,
    "s64": 4,
    "float32": 2,
    "float64": 4,
    "bcd16": 1,
    "bcd32": 2,
    "bcd64": 4,
    "bool": 1,
}
"""Registers that a number takes; of a bool, bits."""
FORMAT = {
    "u16": "H",
    "s16": "h",
    "u32": "I",
    "s32": "i",
    "u64": "Q",
    "s64": "q",
    "float32": "f",
    "float64": "d",
    "bcd16": "H",
    "bcd32": "I",
    "bcd64": "Q",
}
"""The letter that `struct` has for a type; a BCD number is taken apart from the unsigned integer of its digits."""


def ordered(data: bytes, word_order: Order, byte_order: Order) -> bytes:
    """`data` with the most significant byte first. `word_order` and `byte_order` say what came first on the wire."""
    if word_order == byte_order:
        return data if word_order == "big" else data[::-1]
    # Of the two that are left, one is the other read backwards.
    swapped = swapped_bytes(data)
    return swapped if word_order == "big" else swapped[::-1]


def swapped_bytes(data: bytes) -> bytes:
    """`data` with the two bytes of every register exchanged."""
    swapped = bytearray(len(data))
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    return bytes(swapped)


def number(data: bytes, kind: NumberType) -> int | float | None:
    """The number in `data`, most significant byte first; None for a BCD number with something else than digits.

    A bool is one byte, 0 or 1. Raises struct.error when `data` is not as long as `kind`.
    """
    if kind == "bool":
        return data[0]
    [value] = struct.unpack(f">{FORMAT[kind]}", data)
    return _digits(data) if kind.startswith("bcd") else value


def _digits(data: bytes) -> int | None:
    digits = data.hex()
    return int(digits) if digits.isdecimal() else None


def text(data: bytes, byte_order: Order = "big") -> str:
    """The text in `data`, up to its first NUL and without blanks around it; what is no ASCII character becomes U+FFFD.

    Words of a text are never in reverse, whatever the order of the words of a number is.
    """
    plain = data if byte_order == "big" else swapped_bytes(data)
    return plain.partition(b"\0")[0].decode("ascii", "replace").strip()


def bit_field(value: int, low: int, high: int) -> int:
    """Bits `low` to `high` of `value`, both included, 0 being the least significant."""
    return value >> low & (1 << high - low + 1) - 1


def sign_magnitude(value: int, width: int) -> int:
    """`value` of `width` registers, whose highest bit is a sign and the rest a magnitude."""
    sign = 1 << 16 * width - 1
    return value if value < sign else sign - value


def four_quadrant_power_factor(value: float) -> float:
    """Schneider's encoding: beyond 1 in magnitude the current leads, and the factor is 2 less the magnitude."""
    if abs(value) <= 1:
        return value
    return 2 - value if value > 0 else -2 - value


def scaled(raw: int | float, scale: int, divisor: int, exponent: int = 0) -> int | float:
    """`raw * scale / divisor * 10 ** exponent`; of integers rounded once: 2305 / 10 is 230.5, 2305 * 0.1 is not."""
    numerator = scale * 10 ** max(exponent, 0)
    denominator = divisor * 10 ** max(-exponent, 0)
    return raw * numerator if denominator == 1 else raw * numerator / denominator


def scale_exponent(data: bytes, byte_order: Order = "big") -> int | None:
    """The power of ten in a scale-factor register, SunSpec's `sunssf`: -10 to 10, None for anything else.

    Its "not implemented" is 0x8000.
    """
    exponent = int.from_bytes(data, byte_order, signed=True)
    return exponent if -10 <= exponent <= 10 else None
