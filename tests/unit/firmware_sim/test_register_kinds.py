"""What makers put into registers, each kind written down by hand."""

import math
import struct
from dataclasses import replace

import pytest

from firmware_sim.meter import Snapshot
from firmware_sim.register_map import BitMap, IllegalAddress, RegisterMap
from firmware_sim.registers import (
    Register,
    bcd,
    bit_field,
    constant,
    counter,
    float32,
    float64,
    integer,
    scale_factor,
    serial_number,
    text,
)

NJ_PER_WH = 3_600 * 10**9
SNAPSHOT = Snapshot(
    0,
    {"power_w": -1234.5, "voltage_l1_v": 230.16, "frequency_hz": 49.98},
    {"energy_import_wh": 0x0102_0304_05 * NJ_PER_WH + NJ_PER_WH // 2},
    12_345_678,
)
ENERGY_WH = 0x0102_0304_05
FLOAT, DOUBLE = struct.pack(">f", 230.16).hex(), struct.pack(">d", ENERGY_WH + 0.5).hex()


@pytest.mark.parametrize(
    ("register", "data", "value"),
    [
        (integer(0, "power_w", words=2, per_unit=10, signed=True), "ffffcfc7", -1234.5),
        (integer(0, "power_w", words=2, per_unit=10, signed=True, word_order="little"), "cfc7ffff", -1234.5),
        (integer(0, "power_w", words=2, per_unit=10, signed=True, byte_order="little"), "ffffc7cf", -1234.5),
        (integer(0, "voltage_l1_v", words=1, per_unit=10), "08fe", 230.2),
        (integer(0, "voltage_l1_v", words=1, unit=10), "0017", 230),
        (integer(0, "energy_import_wh", words=4, unit=1), "0000000102030405", ENERGY_WH),
        (counter(0, "energy_import_wh", wh=1, word_order="little"), "0405020300010000", ENERGY_WH),
        (counter(0, "energy_import_wh", wh=1, words=2), "02030405", 0x02030405),
        (
            float32(0, "voltage_l1_v", word_order="little"),
            FLOAT[4:] + FLOAT[:4],
            struct.unpack(">f", bytes.fromhex(FLOAT))[0],
        ),
        (float64(0, "energy_import_wh"), DOUBLE, ENERGY_WH + 0.5),
        (bcd(0, "voltage_l1_v", words=1, per_unit=10), "2302", 230.2),
        (bcd(0, "energy_import_wh", words=2, unit=1000), "04328719", 4_328_719_000),
        (bcd(0, "voltage_l1_v", words=2, per_unit=10, word_order="little"), "23020000", 230.2),
        (bit_field(0, "frequency_hz", low=4, high=11, rest=0xF00F), "f32f", 50),
    ],
)
def test_a_value_stands_in_its_registers_as_its_kind_has_it(register: Register, data: str, value: float) -> None:
    """E8."""
    assert register.encode(SNAPSHOT) == (bytes.fromhex(data), value)


def test_what_has_no_quantity_stands_there_as_well() -> None:
    told = [
        register.encode(SNAPSHOT)[0]
        for register in (
            serial_number(0, 2),
            serial_number(0, 2, form="bcd"),
            serial_number(0, 6, form="text", prefix="A", pad=b" "),
            text(0, 3, "B23"),
            scale_factor(0, -2),
        )
    ]
    assert told == [(12_345_678).to_bytes(4), bytes.fromhex("12345678"), b"A12345678   ", b"B23\0\0\0", b"\xff\xfe"]


@pytest.mark.parametrize(
    ("register", "data"),
    [
        (integer(0, "current_l1_a", words=1), "ffff"),
        (integer(0, "current_l1_a", words=2, signed=True), "7fffffff"),
        (integer(0, "current_l1_a", words=1, missing=b"\x80\x00", signed=True), "8000"),
        (bcd(0, "current_l1_a", words=1), "ffff"),
        (float32(0, "current_l1_a", missing=math.nan), "7fc00000"),
    ],
)
def test_a_value_that_is_not_there_or_no_number_reads_as_none(register: Register, data: str) -> None:
    """E6."""
    unknown = replace(SNAPSHOT, values=SNAPSHOT.values | {"current_l1_a": math.nan})
    assert register.encode(SNAPSHOT) == (bytes.fromhex(data), None)
    assert register.encode(unknown)[0] == bytes.fromhex(data)


def test_a_value_beyond_its_range_stops_at_the_end_of_it_and_an_energy_begins_again() -> None:
    """E7."""
    large = replace(SNAPSHOT, values={"power_w": 1e9}, registers_nj={"energy_import_wh": 65_537 * NJ_PER_WH})
    assert integer(0, "power_w", words=1, signed=True).encode(large) == (b"\x7f\xff", 32_767)
    assert integer(0, "energy_import_wh", words=1).encode(large) == (b"\x00\x01", 1)
    assert bcd(0, "energy_import_wh", words=1).encode(large) == (b"\x55\x37", 5_537)


def test_a_meter_has_tables_by_function_and_each_its_own_addresses() -> None:
    inputs = RegisterMap(function=4, areas=[range(2)], registers=[constant(0, b"\x00\x01\x00\x02")])
    coils = BitMap(functions=(1, 2), areas=[range(16)], bits={0: lambda _: True, 9: lambda s: s.values["power_w"] < 0})
    model = RegisterMap(function=3, areas=[range(8)], registers=[constant(4, b"\x00\x09")], others=[inputs, coils])
    assert {function: model.by_function[function].read(0, 2, SNAPSHOT)[0].hex() for function in (1, 2, 3, 4)} == {
        1: "01",
        2: "01",
        3: "00000000",
        4: "00010002",
    }
    assert coils.read(0, 10, SNAPSHOT) == (b"\x01\x02", {})
    with pytest.raises(IllegalAddress):
        inputs.read(4, 1, SNAPSHOT)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "say either function or functions"),
        ({"functions": (1,)}, "registers are read by 3 and 4"),
        ({"function": 4, "writable": [range(1)]}, "only registers that function 3 reads are written"),
        ({"function": 3, "others": [RegisterMap(function=3, areas=[], registers=[])]}, "function 3 reads two tables"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(told: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegisterMap(**({"areas": [range(4)], "registers": []} | told))


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="'B23 112' has 7 characters; 3 registers hold 6"):
        text(0, 3, "B23 112")
