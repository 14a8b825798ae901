"""Register maps read back by a decoder nobody here wrote (pymodbus), and by hand."""

import math
import struct
from dataclasses import replace

import pytest
from pymodbus.client.mixin import ModbusClientMixin

from firmware_sim.meter import Meter, Snapshot
from firmware_sim.models import MODBUS_MODELS, SINGLE_PHASE
from firmware_sim.models.schneider import four_quadrant
from firmware_sim.register_map import IllegalAddress, IllegalCount, RegisterMap
from firmware_sim.registers import constant

NJ_PER_WH = 3_600 * 10**9
TYPES = ModbusClientMixin.DATATYPE
SNAPSHOT = Snapshot(
    0,
    {
        "power_w": -1234.5,
        "power_l1_w": -400.0,
        "power_l2_w": -500.0,
        "power_l3_w": -334.5,
        "apparent_power_va": 1300.0,
        "reactive_power_var": 407.4,
        "power_factor": -0.9496,
        "frequency_hz": 49.98,
        "voltage_l1_v": 230.1,
        "voltage_l2_v": 231.0,
        "voltage_l3_v": 229.0,
        "current_l1_a": 1.754,
        "current_l2_a": 2.0,
        "current_l3_a": 1.5,
    },
    {
        "energy_import_wh": 12_345_678 * NJ_PER_WH + NJ_PER_WH // 2,
        "energy_export_wh": 987_654 * NJ_PER_WH,
        "reactive_energy_import_varh": 4_321 * NJ_PER_WH,
        "reactive_energy_export_varh": 5_432 * NJ_PER_WH,
    },
    serial_number=12_345_678,
)


def _read(model: str, address: int, count: int, *, function: int | None = None, of: Snapshot = SNAPSHOT) -> bytes:
    registers = MODBUS_MODELS[model]
    table = registers.by_function[function or registers.function]
    return table.read(address, count, of)[0]


def _decoded(model: str, address: int, kind: str, *, order: str = "big") -> float:
    datatype = TYPES[kind]
    data = _read(model, address, datatype.value[1])
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    value = ModbusClientMixin.convert_from_registers(words, datatype, word_order=order)
    assert isinstance(value, int | float)
    return value


@pytest.mark.parametrize(
    ("model", "address", "kind", "order", "expected"),
    [
        ("eastron-sdm54", 0x0034, "FLOAT32", "big", -1234.5),
        ("eastron-sdm72", 0x0004, "FLOAT32", "big", 229.0),
        ("eastron-sdm120", 0x000C, "FLOAT32", "big", -1234.5),
        ("eastron-sdm220", 0x001E, "FLOAT32", "big", -0.9496),
        ("eastron-sdm230", 0x0048, "FLOAT32", "big", 12_345.6785),
        ("eastron-sdm630", 0x004E, "FLOAT32", "big", 5.432),
        ("abb-a43", 0x5B14, "INT32", "big", -123_450),
        ("abb-b21", 0x5B0C, "UINT32", "big", 175),
        ("abb-b23", 0x5B3A, "INT16", "big", -950),
        ("abb-b24", 0x5004, "UINT64", "big", 98_765),
        ("schneider-iem3155", 2999, "FLOAT32", "big", 1.754),
        ("schneider-pm5100", 3059, "FLOAT32", "big", -1.2345),
        ("schneider-pm5300", 3223, "INT64", "big", 5_432),
        ("carlo-gavazzi-em24", 0x0028, "INT32", "little", -12_345),
        ("carlo-gavazzi-em24", 0x003E, "INT32", "little", 123_456),
        ("carlo-gavazzi-em24", 0x0037, "INT16", "big", 500),
        ("carlo-gavazzi-em24-e1", 0x004E, "INT32", "little", 9_876),
        ("carlo-gavazzi-em330", 0x000C, "INT32", "little", 1_754),
        ("carlo-gavazzi-em340", 0x0031, "INT16", "big", -950),
        ("janitza-b23", 19068, "FLOAT32", "big", 12_345_678.5),
        ("janitza-umg96", 19026, "FLOAT32", "big", -1234.5),
        ("janitza-umg604", 1369, "FLOAT32", "big", -1234.5),
        ("janitza-umg604", 9863, "FLOAT32", "big", 987_654),
        ("siemens-pac2200", 801, "FLOAT64", "big", 12_345_678.5),
        ("siemens-pac3200", 69, "FLOAT32", "big", 0.9496),
        ("chint-dtsu666", 0x2006, "FLOAT32", "big", 2301.0),
        ("chint-dtsu666", 0x2044, "FLOAT32", "big", 4998.0),
        ("chint-dtsu666", 0x101E, "FLOAT32", "big", 12_345.6785),
        ("inepro-pro380", 0x5012, "FLOAT32", "big", -1.2345),
        ("inepro-pro380", 0x6018, "FLOAT32", "big", 987.654),
        ("wago-879-3020", 0x6030, "FLOAT32", "big", 4.321),
        ("orno-we517", 0x001C, "FLOAT32", "big", -1.2345),
        ("orno-we517", 0x0110, "FLOAT32", "big", 987.654),
        ("sunspec-201", 40000 + 70 + 8, "INT16", "big", 2301),
        ("sunspec-202", 50000 + 70 + 3, "INT16", "big", 175),
        ("sunspec-203", 40000 + 70 + 18, "INT16", "big", -123),
        ("sunspec-203", 40000 + 70 + 46, "UINT32", "big", 1_234_567),
        ("sunspec-204", 40000 + 70 + 33, "INT16", "big", -950),
        ("sunspec-211", 70 + 28, "FLOAT32", "big", -1234.5),
        ("sunspec-212", 50000 + 70 + 12, "FLOAT32", "big", 230.1),
        ("sunspec-213", 40000 + 70 + 60, "FLOAT32", "big", 987_654),
        ("sunspec-214", 40000 + 70 + 52, "FLOAT32", "big", -0.9496),
    ],
)
def test_a_foreign_decoder_reads_what_the_document_says(
    model: str, address: int, kind: str, order: str, expected: float
) -> None:
    """E8: address, type, word order and unit of each model, by hand and by pymodbus."""
    assert _decoded(model, address, kind, order=order) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "function", "address", "expected"),
    [
        ("eastron-sdm630", 3, 0xFC02, b"\x00\x70"),
        ("eastron-sdm72", 3, 0xFC02, b"\x00\x89"),
        ("eastron-sdm120", 3, 0xFC02, b"\x00\x20"),
        ("eastron-sdm230", 3, 0xFC02, b"\x00\x2b"),
        ("eastron-sdm220", 3, 0xFC00, (12_345_678).to_bytes(4)),
        ("abb-a43", 3, 0x8960, b"A43 212-100\0"),
        ("abb-b21", 3, 0x8960, b"B21 112-100\0"),
        ("abb-b23", 3, 0x8900, (12_345_678).to_bytes(4)),
        ("schneider-iem3155", 3, 49, b"iEM3155\0"),
        ("schneider-pm5100", 3, 49, b"PM5110"),
        ("schneider-pm5300", 3, 129, (12_345_678).to_bytes(4)),
        ("carlo-gavazzi-em24", 3, 0x000B, (71).to_bytes(2)),
        ("carlo-gavazzi-em24-e1", 4, 0x000B, (1651).to_bytes(2)),
        ("carlo-gavazzi-em330", 4, 0x000B, (332).to_bytes(2)),
        ("carlo-gavazzi-em340", 4, 0x5000, b"BX12345678\0\0\0\0"),
        ("siemens-pac2200", 3, 64001, b"\0\x2a7KM2200-2EA30-1EA1  LQN/12345678    " + bytes(16)),
        ("siemens-pac3200", 4, 64001, b"\0\x2a7KM2112-0BA00-3AA0  LQN/12345678    " + bytes(16)),
        ("janitza-umg96", 3, 769, (5_222_062).to_bytes(4)),
        ("inepro-pro380", 3, 0x4000, bytes.fromhex("12345678")),
        ("wago-879-3020", 3, 0x4002, b"\x11\x12"),
        ("orno-we517", 3, 0x0000, (12_345_678).to_bytes(4)),
        ("sunspec-211", 3, 0, b"SunS"),
        ("sunspec-214", 3, 40052, b"12345678"),
    ],
)
def test_a_meter_tells_which_one_it_is(model: str, function: int, address: int, expected: bytes) -> None:
    assert _read(model, address, len(expected) // 2, function=function) == expected


def test_a_gavazzi_tells_its_code_only_when_asked_for_that_register_alone() -> None:
    between = {"voltage_l3_v": 229.0}
    alone, values = MODBUS_MODELS["carlo-gavazzi-em330"].by_function[4].read(0x000B, 1, SNAPSHOT)
    assert (alone, values) == ((332).to_bytes(2), {})
    block, values = MODBUS_MODELS["carlo-gavazzi-em330"].by_function[4].read(0x0004, 8, SNAPSHOT)
    assert (block[-2:], values) == (b"\x00\x00", between)


@pytest.mark.parametrize(
    ("model", "address", "count", "error"),
    [
        ("carlo-gavazzi-em24", 0, 12, IllegalCount),
        ("eastron-sdm72", 0, 62, IllegalCount),
        ("eastron-sdm630", 0, 82, IllegalCount),
        ("eastron-sdm120", 1, 2, IllegalAddress),
        ("eastron-sdm120", 0x0060, 2, IllegalAddress),
        ("siemens-pac2200", 2, 2, IllegalAddress),
        ("siemens-pac2200", 1, 3, IllegalAddress),
        ("siemens-pac3200", 803, 4, IllegalAddress),
        ("siemens-pac3200", 0, 2, IllegalAddress),
        ("siemens-pac3200", 64002, 10, IllegalAddress),
        ("chint-dtsu666", 0x401E, 2, IllegalAddress),
        ("janitza-umg96", 1317, 2, IllegalAddress),
        ("sunspec-203", 40000 + 70 + 107, 3, IllegalAddress),
        ("sunspec-213", 39999, 2, IllegalAddress),
    ],
)
def test_what_a_meter_does_not_have_or_not_at_once_is_refused(
    model: str, address: int, count: int, error: type[Exception]
) -> None:
    """E3."""
    with pytest.raises(error):
        _read(model, address, count)


@pytest.mark.parametrize("model", [name for name in MODBUS_MODELS if name.startswith("sunspec")])
def test_the_chain_of_sunspec_models_ends_at_the_end_model(model: str) -> None:
    base = {"sunspec-202": 50000, "sunspec-211": 0, "sunspec-212": 50000}.get(model, 40000)
    assert _read(model, base, 2) == b"SunS"
    found, at = [], base + 2
    while (header := struct.unpack(">HH", _read(model, at, 2)))[0] != 0xFFFF:
        found.append(header)
        at += 2 + header[1]
    number = int(model[-3:])
    assert found == [(1, 66), (number, 124 if number > 210 else 105)]
    assert header == (0xFFFF, 0)


def test_a_delta_meter_says_that_it_has_no_voltage_to_neutral_and_has_those_between_lines() -> None:
    neutral, lines = _read("sunspec-204", 40077, 4), _read("sunspec-204", 40082, 3)
    assert neutral == b"\x80\x00" * 4
    expected = math.sqrt(230.1**2 + 231.0**2 + 230.1 * 231.0)
    assert struct.unpack(">3h", lines)[0] == round(10 * expected)


def test_a_single_phase_sunspec_meter_leaves_the_other_phases_unimplemented() -> None:
    """E15."""
    values = struct.unpack(">4f", _read("sunspec-211", 70 + 2, 8))
    assert values[:2] == pytest.approx((5.254, 1.754))
    assert all(math.isnan(value) for value in values[2:])


@pytest.mark.parametrize(
    ("factor", "reactive_var", "on_the_wire"),
    [(0.75, 100.0, 0.75), (0.75, -100.0, 1.25), (-0.75, 100.0, -0.75), (-0.75, -100.0, -1.25)],
)
def test_schneiders_power_factor_names_the_quadrant(factor: float, reactive_var: float, on_the_wire: float) -> None:
    values = SNAPSHOT.values | {"power_factor": factor, "reactive_power_var": reactive_var}
    data, value = four_quadrant(3083).encode(replace(SNAPSHOT, values=values))
    assert (struct.unpack(">f", data)[0], value) == (on_the_wire, factor)


def test_the_power_factor_of_an_em24_has_the_sign_of_the_load_and_not_of_the_power() -> None:
    capacitive = replace(SNAPSHOT, values=SNAPSHOT.values | {"power_factor": 0.9496, "reactive_power_var": -1.0})
    words = _read("carlo-gavazzi-em24", 0x0035, 1, of=capacitive), _read("carlo-gavazzi-em24", 0x0035, 1)
    assert [int.from_bytes(word, signed=True) for word in words] == [-950, 950]


def test_a_single_phase_abb_has_the_power_of_no_phase() -> None:
    """E6: not available, not 0; the total is what there is."""
    words = struct.unpack(">4i", _read("abb-b21", 0x5B14, 8))
    assert words == (-123_450, *[0x7FFFFFFF] * 3)


def test_what_a_sunspec_meter_counts_by_quadrant_is_on_the_wire_and_no_quantity() -> None:
    data, values = MODBUS_MODELS["sunspec-201"].read(40000 + 70 + 72, 2, SNAPSHOT)
    assert (int.from_bytes(data), values) == (4_321, {})


@pytest.mark.parametrize("model", MODBUS_MODELS)
def test_every_register_stands_in_an_area_and_every_value_can_be_read_by_itself(model: str) -> None:
    tables = {id(table): table for table in MODBUS_MODELS[model].by_function.values()}
    for table in tables.values():
        assert isinstance(table, RegisterMap)
        for quantity in sorted(table.quantities):
            at = table.addresses(quantity)
            if at:
                _, values = table.read(at.start, len(at), SNAPSHOT)
                assert set(values) == {quantity}, f"{quantity} at {at.start:#x}"


@pytest.mark.parametrize("model", MODBUS_MODELS)
def test_no_model_fails_on_a_missing_phase_or_a_value_that_cannot_be_measured(model: str) -> None:
    """E6: a fault or a single-phase connection is answered, whatever the maker's pattern for it is."""
    flat = Meter(seed=1, name="flat", peak_w=3000, phases=1).at(0)
    blind = replace(SNAPSHOT, values=dict.fromkeys(SNAPSHOT.values, math.nan))
    table = MODBUS_MODELS[model]
    for snapshot in (flat, blind):
        for quantity in sorted(table.quantities):
            at = table.addresses(quantity)
            if at:
                data, values = table.read(at.start, len(at), snapshot)
                assert len(data) == 2 * len(at)
                assert all(not math.isnan(value) for value in values.values())


def test_single_phase_models_are_those_that_show_one_phase() -> None:
    assert {
        "eastron-sdm120",
        "eastron-sdm220",
        "eastron-sdm230",
        "abb-b21",
        "sunspec-201",
        "sunspec-211",
    } == SINGLE_PHASE


def test_a_register_outside_the_areas_is_a_mistake_in_the_map() -> None:
    with pytest.raises(ValueError, match="the register at 0x4 stands in no area"):
        RegisterMap(function=3, areas=[range(4)], registers=[constant(4, b"12")])
