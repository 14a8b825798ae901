"""Registers to numbers. Pure; a register is an unsigned 16-bit integer as it stood on the wire."""

import struct
from collections.abc import Sequence
from typing import Literal

RegisterType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "float32"]
WordOrder = Literal["big", "little"]

WIDTH: dict[str, int] = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "u64": 4, "s64": 4, "float32": 2}
_FORMAT = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "u64": ">Q", "s64": ">q", "float32": ">f"}


def decode(words: Sequence[int], kind: RegisterType, word_order: WordOrder = "big") -> int | float:
    """The number in `words`, most significant word first for "big". Raises struct.error on a wrong word count."""
    ordered = words if word_order == "big" else list(reversed(words))
    return struct.unpack(_FORMAT[kind], struct.pack(f">{len(ordered)}H", *ordered))[0]


def raw_pattern(words: Sequence[int], word_order: WordOrder = "big") -> int:
    """The bits of `words` as one unsigned integer: what an `invalid` sentinel is compared with."""
    ordered = words if word_order == "big" else list(reversed(words))
    return int.from_bytes(struct.pack(f">{len(ordered)}H", *ordered), "big")


def four_quadrant_power_factor(value: float) -> float:
    """Schneider's encoding: beyond 1 in magnitude the current leads, and the factor is 2 less the magnitude."""
    if abs(value) <= 1:
        return value
    return 2 - value if value > 0 else -2 - value
