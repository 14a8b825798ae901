"""Values as register words: whole numbers, binary coded decimals, texts, in any order of words and bytes."""

from collections.abc import Callable
from typing import Literal

Order = Literal["big", "little"]


def ordering(word_order: Order, byte_order: Order) -> Callable[[bytes], bytes]:
    """Turns most-significant-first bytes into registers with that word first, and that byte first in each word."""
    if (word_order, byte_order) == ("big", "big"):
        return lambda data: data

    def order(data: bytes) -> bytes:
        words = [data[at : at + 2] for at in range(0, len(data), 2)]
        if word_order == "little":
            words.reverse()
        return b"".join(word if byte_order == "big" else word[::-1] for word in words)

    return order


def pinned(count: int, *, words: int, signed: bool) -> int:
    """`count`, or the end of the range that it is beyond: what does not fit reads as the most that does."""
    bits = 16 * words
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return min(max(count, low), high)


def all_ones(*, words: int, signed: bool) -> bytes:
    """The common pattern for "no such value": all ones, signed the largest number."""
    return ((1 << (16 * words - 1)) - 1 if signed else (1 << 16 * words) - 1).to_bytes(2 * words)


def decimal(count: int, *, words: int) -> bytes:
    """`count` as packed BCD, four digits a word; beyond its range the nearest that fits."""
    digits = 4 * words
    return bytes.fromhex(f"{min(max(count, 0), 10**digits - 1):0{digits}d}")


def text(value: str, *, words: int, pad: bytes = b"\x00") -> bytes:
    """`value` in ASCII, filled up with `pad`. Raises ValueError when it does not fit."""
    data = value.encode("ascii")
    if len(data) > 2 * words:
        raise ValueError(f"{value!r} has {len(data)} characters; {words} registers hold {2 * words}")
    return data.ljust(2 * words, pad)
