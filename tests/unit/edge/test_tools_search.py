"""E8: a meter of no known model still shows by its registers how it wants to be read."""

import struct

import pytest

from edge.tools.lines.search import search


def _float(value: float) -> bytes:
    return struct.pack(">f", value)


def _swapped(data: bytes) -> bytes:
    return data[2:] + data[:2]


def test_floats_are_found_in_the_order_of_their_words() -> None:
    values = [230.12, 231.4, 229.7, 1.25, 50.02]
    data = b"\0\0" * 2 + b"".join(_swapped(_float(value)) for value in values)
    hint = search(4, 0x10, data)
    assert hint is not None
    assert (hint.type, hint.word_order, hint.byte_order) == ("float32", "little", "big")
    assert hint.places == {"4:0x0012": 230.12, "4:0x0014": 231.4, "4:0x0016": 229.7, "4:0x001a": 50.02}


@pytest.mark.parametrize(("volts", "hertz"), [(10, 100), (100, 100), (10, 10)])
def test_integers_are_found_with_their_divisors(volts: int, hertz: int) -> None:
    data = struct.pack(">5H", round(231.7 * volts), round(232.4 * volts), round(230.9 * volts), 3, round(49.9 * hertz))
    hint = search(3, 0, data)
    assert hint is not None
    assert (hint.type, hint.voltage_divisor, hint.frequency_divisor) == ("u16", volts, hertz)
    assert hint.places["3:0x0004"] == pytest.approx(49.9)


@pytest.mark.parametrize("data", [b"", b"\0" * 96, b"\xff" * 96, bytes(range(96)), _float(230.0) + _float(50.0)])
def test_registers_without_a_grid_give_no_hint(data: bytes) -> None:
    assert search(3, 0, data) is None
