"""The compiled decoder, held against each row read on its own."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.profiles import catalog
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.schema import ModbusProfile
from edge.profiles.modbus.words import scale_exponent
from edge.reading import canonical
from tests.unit.edge.register_maps import profile, profiles, replies


def _one_by_one(blocks: tuple[Block, ...], given: list[bytes | None]) -> tuple[dict[str, float], list[str]]:
    """What a careful person would do: look up each register, decode, scale, round."""
    found: dict[tuple[int, int], bytes] = {}
    for block, data in zip(blocks, given, strict=True):
        if data is None:
            continue
        for offset in range(block.count):
            bits = bytes([data[offset // 8] >> offset % 8 & 1]) if block.function <= 2 else b""
            found[block.function, block.address + offset] = bits or data[2 * offset : 2 * offset + 2]
    values, impossible = {}, []
    for row in (row for block in blocks for row in block.registers if isinstance(row, Register)):
        words = [found.get((row.function, address)) for address in range(row.address, row.end)]
        factor = None if row.scale_factor is None else found.get((row.function, row.scale_factor))
        if None in words or (row.scale_factor is not None and factor is None):
            continue
        exponent = 0 if factor is None else scale_exponent(factor, row.byte_order)
        value = row.value(b"".join(word for word in words if word is not None), exponent)
        if value is not None:
            kept, refused = canonical({row.quantity: value})
            values |= kept
            impossible += refused
    return values, impossible


@settings(max_examples=400)
@given(st.data())
def test_the_compiled_decoder_equals_each_row_read_on_its_own(data: st.DataObject) -> None:
    """E5, E6, E8: whatever the map, the bytes, and the blocks that failed."""
    meter: ModbusProfile = data.draw(profiles())
    blocks = meter.blocks()
    answers = data.draw(replies(blocks))

    decoded = meter.decoder(blocks)(answers)

    values, impossible = _one_by_one(blocks, answers)
    assert decoded.values == values
    assert sorted(decoded.impossible) == sorted(impossible)


@settings(max_examples=300)
@given(
    st.sampled_from(["power_w", "voltage_l1_v", "current_l1_a", "energy_import_wh", "frequency_hz"]),
    st.sampled_from([1, 10, 1000, -1, 10**9 + 7]),
    st.one_of(st.floats(width=32), st.floats(2**-30, 2**-10, width=32)),
)
def test_a_float_is_rounded_as_the_contract_says(quantity: str, scale: int, value: float) -> None:
    meter = profile([Register(quantity=quantity, address=0, type="float32", scale=scale)])
    decoded = meter.decoder(meter.blocks())([struct.pack(">f", value)])
    kept, impossible = canonical({quantity: value * scale} if math.isfinite(value) else {})
    assert (decoded.values, decoded.impossible) == (kept, impossible)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 10, 100, 1000]), st.integers(1, 20))
def test_an_integer_is_rounded_as_the_contract_says(raw: int, divisor: int, scale: int) -> None:
    meter = profile([Register(quantity="voltage_l1_v", address=0, type="u32", scale=scale, divisor=divisor)])
    decoded = meter.decoder(meter.blocks())([raw.to_bytes(4, "big")])
    assert decoded.values == {"voltage_l1_v": round(raw * scale / divisor, 2)}


def test_a_failed_block_leaves_its_values_out_and_shifts_none() -> None:
    """E5, E6"""
    meter = catalog.modbus("eastron-sdm630")
    blocks = meter.blocks()
    full: list[bytes | None] = [struct.pack(">f", 230.5) * (block.count // 2) for block in blocks]
    whole = meter.decoder(blocks)(full).values

    for lost, block in enumerate(blocks):
        partial = meter.decoder(blocks)([None if index == lost else data for index, data in enumerate(full)]).values
        missing = {row.quantity for row in block.registers}
        assert partial == {name: value for name, value in whole.items() if name not in missing}


def test_values_that_no_column_can_hold_are_named() -> None:
    """E8"""
    meter = profile(
        [
            Register(quantity="energy_import_wh", address=0, type="float32", scale=1000),
            Register(quantity="power_w", address=2, type="float32"),
        ]
    )
    decoded = meter.decoder(meter.blocks())([struct.pack(">ff", 3e38, -100.25)])
    assert decoded.impossible == ["energy_import_wh"]
    assert decoded.values == {"power_w": -100.2}


def test_a_scale_factor_in_another_block_is_found_and_its_loss_is_no_value() -> None:
    """E6"""
    meter = profile([Register(quantity="power_w", address=0, type="s16", scale_factor=200)])
    blocks = meter.blocks()
    assert [block.address for block in blocks] == [0, 200]
    decode = meter.decoder(blocks)
    assert decode([b"\x09\x01", b"\xff\xff"]).values == {"power_w": 230.5}
    assert decode([b"\x09\x01", b"\x80\x00"]).values == {}
    assert decode([b"\x09\x01", None]).values == {}
    aside = meter.blocks(without={"3:0x00c8"})
    assert meter.decoder(aside)([b"\x09\x01"]).values == {}


def test_bit_fields_of_one_register_are_values_of_their_own() -> None:
    meter = profile(
        [
            Register(quantity="power_w", address=0, type="u16", bits=(0, 7)),
            Register(quantity="current_l1_a", address=0, type="u16", bits=(8, 15), divisor=10),
        ]
    )
    [block] = meter.blocks()
    assert (block.count, block.keys, block.halves()) == (1, ("3:0x0000",), (block,))
    assert meter.decoder([block])([b"\x0b\x64"]).values == {"power_w": 100, "current_l1_a": 1.1}


def test_a_reply_of_another_length_than_its_block_is_refused() -> None:
    """E5"""
    meter = profile([Register(quantity="power_w", address=0, type="float32")])
    with pytest.raises(ValueError, match="2 bytes for registers 0x0000 to 0x0001; they have 4"):
        meter.decoder(meter.blocks())([b"\0\0"])
