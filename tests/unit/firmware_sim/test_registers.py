import struct

import pytest

from firmware_sim.meter import Meter, Snapshot
from firmware_sim.models import MODBUS_MODELS
from firmware_sim.models.abb_b23 import MAP as ABB
from firmware_sim.models.eastron_sdm630 import MAP as EASTRON
from firmware_sim.models.schneider_iem3155 import MAP as SCHNEIDER
from firmware_sim.register_map import IllegalAddress, IllegalCount, RegisterMap
from firmware_sim.registers import constant

NJ_PER_WH = 3_600 * 10**9
SNAPSHOT = Snapshot(
    0,
    {
        "power_w": -1234.567,
        "power_l1_w": -400.0,
        "power_l2_w": -500.0,
        "power_l3_w": -334.567,
        "apparent_power_va": 1300.0,
        "reactive_power_var": -407.4,
        "power_factor": -0.9496,
        "frequency_hz": 49.987,
        "voltage_l1_v": 230.16,
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
)


@pytest.mark.parametrize(
    ("registers", "address", "expected"),
    [
        (EASTRON, 0x0000, struct.pack(">f", 230.16)),
        (EASTRON, 0x0034, struct.pack(">f", -1234.567)),
        (EASTRON, 0x0046, struct.pack(">f", 49.987)),
        (EASTRON, 0x0048, struct.pack(">f", 12_345.6785)),
        (ABB, 0x5B00, bytes.fromhex("000008fe")),
        (ABB, 0x5B14, (-123_457).to_bytes(4, signed=True)),
        (ABB, 0x5B2C, (4_999).to_bytes(2)),
        (ABB, 0x5B3A, (-950).to_bytes(2, signed=True)),
        (ABB, 0x5000, (1_234_567).to_bytes(8)),
        (ABB, 0x8960, b"B23 "),
        (SCHNEIDER, 0x0BF3, struct.pack(">f", -1.234567)),
        (SCHNEIDER, 0x0C83, (12_345_678).to_bytes(8)),
        (SCHNEIDER, 0x0C87, (987_654).to_bytes(8)),
    ],
)
def test_registers_read_as_the_datasheet_has_them(registers: RegisterMap, address: int, expected: bytes) -> None:
    """E8: word order, type, scale and base address, written down by hand."""
    data, _ = registers.read(address, len(expected) // 2, SNAPSHOT)
    assert data == expected


def test_the_values_given_are_those_on_the_wire_and_not_those_before_encoding() -> None:
    _, abb = ABB.read(0x5000, 4, SNAPSHOT)
    assert abb == {"energy_import_wh": 12_345_670}
    _, eastron = EASTRON.read(0x48, 2, SNAPSHOT)
    assert eastron == {"energy_import_wh": struct.unpack(">f", struct.pack(">f", 12_345.6785))[0] * 1000}


def test_a_value_of_which_only_half_was_asked_for_was_not_served() -> None:
    data, values = ABB.read(0x5B01, 3, SNAPSHOT)
    assert data == bytes.fromhex("08fe00000906")
    assert values == {"voltage_l2_v": 231.0}


def test_a_leading_power_factor_is_two_less_the_factor_in_schneiders_encoding() -> None:
    leading = Snapshot(0, SNAPSHOT.values | {"power_factor": 0.75, "reactive_power_var": -100.0}, SNAPSHOT.registers_nj)
    data, values = SCHNEIDER.read(0x0C0B, 2, leading)
    assert struct.unpack(">f", data) == (1.25,)
    assert values == {"power_factor": 0.75}


@pytest.mark.parametrize(
    ("registers", "address", "expected", "values"),
    [
        (ABB, 0x5B02, "ffffffff", {}),
        (ABB, 0x5B18, "7fffffff", {}),
        (SCHNEIDER, 0x0BD5, "7fc00000", {}),
        (EASTRON, 0x0002, "00000000", {"voltage_l2_v": 0.0}),
    ],
)
def test_phases_without_a_connection_read_as_each_maker_does_it(
    registers: RegisterMap, address: int, expected: str, values: dict[str, float]
) -> None:
    """E6, E15: a missing value has a pattern of its own, and only Eastron's is a number."""
    single_phase = Meter(seed=1, name="flat", peak_w=3000, phases=1).at(0)
    data, served = registers.read(address, 2, single_phase)
    assert (data.hex(), served) == (expected, values)


@pytest.mark.parametrize(
    ("registers", "address", "count", "error"),
    [
        (EASTRON, 0, 82, IllegalCount),
        (EASTRON, 1, 2, IllegalAddress),
        (EASTRON, 0x17F, 2, IllegalAddress),
        (ABB, 0x5B3F, 2, IllegalAddress),
        (ABB, 0x4FFF, 2, IllegalAddress),
        (SCHNEIDER, 0x0C27, 1, IllegalAddress),
    ],
)
def test_what_the_meter_does_not_have_is_refused(
    registers: RegisterMap, address: int, count: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        registers.read(address, count, SNAPSHOT)


def test_overlapping_registers_are_a_mistake_in_the_map() -> None:
    with pytest.raises(ValueError, match="overlap at 0x1"):
        RegisterMap(function=3, areas=[range(4)], registers=[constant(0, b"1234"), constant(1, b"12")])


def test_every_model_has_the_quantities_that_the_energy_of_a_day_needs() -> None:
    for name, registers in MODBUS_MODELS.items():
        # A meter of a delta network has no neutral to measure against.
        voltage = set() if name in ("sunspec-204", "sunspec-214") else {"voltage_l1_v"}
        assert {"power_w", "energy_import_wh", "energy_export_wh", *voltage} <= registers.quantities, name
