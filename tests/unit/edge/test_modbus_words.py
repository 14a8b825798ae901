"""Registers to numbers, held against `struct` and plain arithmetic of fractions."""

import struct
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.words import (
    bit_field,
    four_quadrant_power_factor,
    number,
    ordered,
    scale_exponent,
    scaled,
    sign_magnitude,
    text,
)

_LETTERS = {"u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "s64": "q", "float32": "f", "float64": "d"}
_ORDERS = st.sampled_from(["big", "little"])


def _on_the_wire(value: float, kind: str, word_order: str, byte_order: str) -> bytes:
    """`value` as a meter sends it: built register by register, not by turning bytes round."""
    plain = struct.pack(">" + _LETTERS[kind], value)
    words = [plain[start : start + 2] for start in range(0, len(plain), 2)]
    if word_order == "little":
        words.reverse()
    return b"".join(word if byte_order == "big" else bytes([word[1], word[0]]) for word in words)


@st.composite
def _numbers(draw: st.DrawFn) -> tuple[str, float]:
    kind = draw(st.sampled_from(sorted(_LETTERS)))
    if kind.startswith("float"):
        return kind, draw(st.floats(width=int(kind[5:]), allow_nan=False))
    bits = int(kind[1:])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind[0] == "s" else (0, 2**bits - 1)
    return kind, draw(st.integers(low, high))


@given(_numbers(), _ORDERS, _ORDERS)
def test_every_type_is_read_in_every_word_and_byte_order(
    typed: tuple[str, float], word_order: str, byte_order: str
) -> None:
    """E8"""
    kind, value = typed
    data = _on_the_wire(value, kind, word_order, byte_order)
    assert number(ordered(data, word_order, byte_order), kind) == value


@pytest.mark.parametrize(
    ("word_order", "byte_order", "wire"),
    [("big", "big", "01020304"), ("little", "big", "03040102"), ("big", "little", "02010403"),
     ("little", "little", "04030201")],
)  # fmt: skip
def test_the_four_orders_of_a_long_value(word_order: str, byte_order: str, wire: str) -> None:
    assert number(ordered(bytes.fromhex(wire), word_order, byte_order), "u32") == 0x01020304


@given(st.integers(0, 9999_9999))
def test_a_bcd_number_is_its_digits(value: int) -> None:
    assert number(bytes.fromhex(f"{value:08d}"), "bcd32") == value


@pytest.mark.parametrize("digits", ["00a0", "ffff", "1f00"])
def test_a_bcd_number_with_something_else_than_digits_is_absent(digits: str) -> None:
    """E6"""
    assert number(bytes.fromhex(digits), "bcd16") is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"B23 112-100\0\0\0\0\0", "B23 112-100"),
        (b"  EM340 \0", "EM340"),
        (b"\0\0\0\0", ""),
        (b"ok\0rest of an older text", "ok"),
        (b"caf\xe9", "caf�"),
    ],
)
def test_a_text_has_no_padding_and_no_byte_that_breaks_a_page(data: bytes, expected: str) -> None:
    assert text(data) == expected


def test_a_text_with_its_bytes_exchanged_is_read_by_its_byte_order() -> None:
    assert text(b"2B 3", "little") == "B23"


@given(st.integers(0, 2**32 - 1), st.integers(0, 31), st.integers(0, 31))
def test_a_bit_field_is_what_is_cut_out_of_the_binary_digits(value: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    digits = f"{value:032b}"[::-1][low : high + 1]
    assert bit_field(value, low, high) == int(digits[::-1], 2)


@given(st.integers(-(2**15 - 1), 2**15 - 1))
def test_sign_and_magnitude_give_the_signed_number(value: int) -> None:
    assert sign_magnitude(abs(value) | (0x8000 if value < 0 else 0), 1) == value


@pytest.mark.parametrize(("raw", "factor"), [(0.9, 0.9), (-0.9, -0.9), (1.1, 0.9), (-1.1, -0.9), (1.0, 1.0), (2.0, 0)])
def test_the_four_quadrants_of_a_power_factor(raw: float, factor: float) -> None:
    assert four_quadrant_power_factor(raw) == pytest.approx(factor)


@given(st.integers(-(2**63), 2**64 - 1), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(-10, 10))
@example(2305, 1, 1, -1)
@example(-1, 1, 1, 10)
def test_an_integer_is_scaled_to_the_nearest_double(raw: int, scale: int, divisor: int, exponent: int) -> None:
    """Never by multiplying with 0.1: 2305 with the exponent -1 is 230.5."""
    exact = Fraction(raw * scale, divisor) * Fraction(10) ** exponent
    assert float(scaled(raw, scale, divisor, exponent)) == float(exact)


@given(st.binary(min_size=2, max_size=2))
def test_a_scale_factor_is_a_small_power_of_ten_or_none(data: bytes) -> None:
    [value] = struct.unpack(">h", data)
    assert scale_exponent(data) == (value if abs(value) <= 10 else None)


def test_a_scale_factor_that_is_not_implemented_makes_the_value_absent() -> None:
    """E6"""
    row = Register(quantity="power_w", address=0, type="s16", scale_factor=1)
    assert row.value(b"\x09\x01", scale_exponent(b"\xff\xff")) == 230.5
    assert row.value(b"\x09\x01", scale_exponent(b"\x80\x00")) is None


@pytest.mark.parametrize(
    ("row", "data", "expected"),
    [
        ({"type": "u16", "bits": (4, 11)}, "0ab0", 0xAB),
        ({"type": "u16", "encoding": "sign-magnitude", "divisor": 10}, "8065", -10.1),
        ({"type": "s16", "encoding": "magnitude", "divisor": 1000}, "fc4a", 0.95),
        ({"type": "s16", "scale": -1}, "0064", -100),
        ({"type": "s16", "offset": 0.5}, "ffff", -0.5),
        ({"type": "bcd32", "divisor": 10}, "00002305", 230.5),
        ({"type": "u32", "invalid": (0xFFFFFFFF,), "word_order": "little"}, "ffffffff", None),
        ({"type": "u16", "invalid": (0x8000,), "byte_order": "little"}, "0080", None),
        ({"type": "float64"}, "406cd00000000000", 230.5),
    ],
)
def test_a_row_says_how_its_number_is_written(row: dict, data: str, expected: float | None) -> None:
    assert Register(quantity="power_w", address=0, **row).value(bytes.fromhex(data)) == expected
