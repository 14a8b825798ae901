"""Reproducible chance: numbers that depend on a key and an index alone, so that any instant can be asked for."""

import hashlib

_MASK = (1 << 64) - 1


def key(*parts: str | int) -> int:
    """A 64-bit key of `parts`, the same on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def draw(of: int, index: int) -> int:
    """A number in [0, 2**64) for `index` under the key `of`: the splitmix64 sequence, entered anywhere."""
    z = (of + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def between(of: int, index: int, low: int, high: int) -> int:
    """An integer in [low, high], both inclusive."""
    return low + draw(of, index) % (high - low + 1)
