"""How a unit of no known model may be read: where its first registers hold a grid's voltages and its frequency."""

from collections.abc import Iterator
from itertools import product
from typing import get_args

import msgspec

from edge.profiles.modbus.words import NumberType, Order, number, ordered

_VOLTS = ((96.0, 144.0), (184.0, 276.0))
_HERTZ = ((49.5, 50.5), (59.5, 60.5))
_DIVISORS = (1, 10, 100, 1000)
_TYPES: tuple[tuple[NumberType, int], ...] = (("float32", 2), ("u32", 2), ("u16", 1))
_MOST_HINTS = 3


class Hint(msgspec.Struct, frozen=True):
    """A way to read registers by which they hold voltages and a frequency. `places` maps "4:0x0000" to the value."""

    type: str
    voltage_divisor: int
    frequency_divisor: int
    word_order: str
    byte_order: str
    places: dict[str, float]

    def __str__(self) -> str:
        order = "" if self.type == "u16" else f", words {self.word_order} first"
        swapped = ", bytes swapped" if self.byte_order == "little" else ""
        return f"{self.type}{order}{swapped}: {', '.join(f'{value:g} at {at}' for at, value in self.places.items())}"


def search(function: int, first: int, data: bytes) -> Hint | None:
    """How to read `data`, the registers from `first`, so that a frequency and most voltages are in it."""
    found: list[Hint] = []
    for kind, width in _TYPES:
        scales = ((1, 1),) if kind == "float32" else tuple((volts, hertz) for volts in _DIVISORS for hertz in _DIVISORS)
        for word_order, byte_order in product(get_args(Order), repeat=2):
            if width == 1 and word_order == "little":
                continue
            values = dict(_values(data, kind, width, word_order, byte_order))
            for volts, hertz in scales:
                hint = _hint(function, first, values, Hint(kind, volts, hertz, word_order, byte_order, {}))
                if hint is not None:
                    found.append(hint)
    return max(found, key=lambda hint: len(hint.places), default=None)


def _values(data: bytes, kind: NumberType, width: int, word: Order, byte: Order) -> Iterator[tuple[int, float]]:
    """The number at each register of `data`, by its offset."""
    for start in range(0, len(data) - 2 * width + 1, 2):
        value = number(ordered(data[start : start + 2 * width], word, byte), kind)
        # A grid is never at exactly 50 or 230: round floating-point figures are settings and ratios.
        if value is not None and value == value and (kind != "float32" or value != int(value)):
            yield start // 2, value


def _hint(function: int, first: int, values: dict[int, float], way: Hint) -> Hint | None:
    """`way` with the places at which it finds a grid, or None where it finds none."""
    places: dict[str, float] = {}
    hertz: dict[str, float] = {}
    for offset, value in values.items():
        at = f"{function}:{first + offset:#06x}"
        if _within(value / way.frequency_divisor, _HERTZ):
            hertz[at] = round(value / way.frequency_divisor, 3)
        elif _within(value / way.voltage_divisor, _VOLTS) and len(places) < _MOST_HINTS:
            places[at] = round(value / way.voltage_divisor, 2)
    if not places or not hertz:
        return None
    return msgspec.structs.replace(way, places=places | dict([next(iter(hertz.items()))]))


def _within(value: float, ranges: tuple[tuple[float, float], ...]) -> bool:
    return any(low <= value <= high for low, high in ranges)
