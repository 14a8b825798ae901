"""Which model answers, and whether what it says can be a grid."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.profiles import catalog
from edge.profiles.modbus.physics import implausible, infer
from edge.profiles.modbus.probe import recognise
from edge.profiles.modbus.rows import Probe, Register
from edge.profiles.modbus.schema import ModbusProfile
from tests.unit.edge.register_maps import profile
from tests.unit.edge.units import Unit


def _model(*probes: dict[str, object]) -> ModbusProfile:
    meter = profile([Register(quantity="power_w", address=0, type="u16")])
    return meter.model_copy(update={"probe": tuple(Probe(**probe) for probe in probes)})


_CODE = {"address": 0x0B, "type": "u16"}
_MODELS = {
    "em340": _model(_CODE | {"one_of": (345, 346)}),
    "em24-e1": _model(_CODE | {"between": (1648, 1653)}),
    "b23": _model({"address": 0x8960, "type": "u32", "one_of": (0x42323320,)}),
    "umg": _model({"address": 0x0B, "type": "string", "words": 2, "prefix": "UMG"}),
    "nobody": _model(),
}


@pytest.mark.parametrize(
    ("registers", "names"),
    [
        ({0x0B: b"\x01\x59"}, ("em340",)),
        ({0x0B: b"\x06\x70"}, ("em24-e1",)),
        ({0x0B: b"\x00\x01", 0x8960: b"B23 "}, ("b23",)),
        ({0x0B: b"UMG6"}, ("umg",)),
        ({0x0B: b"\x00\x00"}, ()),
        ({}, ()),
    ],
)
async def test_a_model_is_known_by_what_only_it_answers(registers: dict[int, bytes], names: tuple[str, ...]) -> None:
    assert await recognise(Unit(registers).read, _MODELS) == names


async def test_a_register_is_read_once_for_all_profiles() -> None:
    unit = Unit({0x0B: b"\x01\x59\x00\x00"})
    await recognise(unit.read, _MODELS | {"twin": _MODELS["em340"]})
    assert unit.requests == [(3, 0x0B, 1), (3, 0x8960, 2), (3, 0x0B, 2)]


async def test_a_longer_read_answers_for_its_parts() -> None:
    long = _model({"address": 0x0A, "type": "string", "words": 4, "prefix": "ACME"})
    unit = Unit({0x0A: b"AC\x01\x59\x00\x00\x00\x00"})
    assert await recognise(unit.read, {"long": long, "em340": _MODELS["em340"]}) == ("em340",)
    assert unit.requests == [(3, 0x0A, 4)]


async def test_all_conditions_have_to_hold_and_the_most_particular_model_is_first() -> None:
    rough = _model(_CODE | {"one_of": (345,)})
    fine = _model(_CODE | {"one_of": (345,)}, {"address": 0x0C, "type": "u16", "between": (1, 2)})
    assert await recognise(Unit({0x0B: b"\x01\x59\x00\x02"}).read, {"rough": rough, "fine": fine}) == ("fine", "rough")
    assert await recognise(Unit({0x0B: b"\x01\x59\x00\x03"}).read, {"rough": rough, "fine": fine}) == ("rough",)


async def test_a_model_that_names_itself_comes_before_those_whose_values_look_right() -> None:
    by_values = _model(*(_CODE | {"between": (100 * n, 400)} for n in range(3)))
    unit = Unit({0x0B: b"\x01\x59"})
    assert await recognise(unit.read, {"by values": by_values, "em340": _MODELS["em340"]}) == ("em340", "by values")


async def test_a_silent_unit_is_not_asked_for_every_model() -> None:
    """E1: each question costs a time-out."""
    many = {f"m{n}": _model({"address": n, "type": "u16", "one_of": (1,)}) for n in range(30)}
    unit = Unit({}, silent=True)
    assert await recognise(unit.read, many) == ()
    assert len(unit.requests) == 3


async def test_a_unit_that_answers_some_and_is_silent_for_the_rest_is_asked_on() -> None:
    many = {f"m{n}": _model({"address": n, "type": "u16", "one_of": (1,)}) for n in range(30)}
    assert await recognise(Unit({0: b"\0\0", 29: b"\0\1"}, silent=True).read, many) == ("m29",)


async def test_bits_are_a_condition_too() -> None:
    coil = _model({"function": 1, "address": 8, "type": "bool", "one_of": (1,)})

    async def read(*, function: int, address: int, count: int) -> bytes:
        # What fills the byte up means nothing.
        return b"\xff" if (function, address, count) == (1, 8, 1) else b"\xfe"

    assert await recognise(read, {"coil": coil}) == ("coil",)


def test_implausible_are_the_values_that_no_grid_has() -> None:
    """E8"""
    values = {"voltage_l1_v": 230.5, "voltage_l2_v": 0.0, "voltage_l3_v": 2305.0, "frequency_hz": 5.0, "power_w": 1e7}
    assert implausible(values) == ("voltage_l3_v", "frequency_hz")
    assert implausible({"voltage_l1_v": 57.7}) == ("voltage_l1_v",)
    nominal = catalog.modbus("eastron-sdm630").nominal
    assert nominal is not None
    assert implausible({"voltage_l1_v": 57.7}, nominal.model_copy(update={"voltage_v": 57.7})) == ()


def _wire(value: float, word_order: str, byte_order: str) -> bytes:
    plain = struct.pack(">f", value)
    words = [plain[:2], plain[2:]]
    if word_order == "little":
        words.reverse()
    return b"".join(word if byte_order == "big" else word[::-1] for word in words)


_GRID = profile(
    [
        Register(quantity="voltage_l1_v", address=10, type="float32"),
        Register(quantity="voltage_l2_v", address=12, type="float32"),
        Register(quantity="power_w", address=20, type="float32"),
        Register(quantity="frequency_hz", address=30, type="float32"),
    ]
)


# One register off, the volts are larger than any reading can be, and the hertz near 60.
@example("big", "big", -1, 200.375, 50.314890893016155)
@given(
    st.sampled_from(["big", "little"]),
    st.sampled_from(["big", "little"]),
    st.sampled_from([-1, 0, 1]),
    st.floats(200, 260),
    st.floats(49.5, 50.5),
)
async def test_the_way_that_gives_a_grid_is_found_whatever_it_is(
    word_order: str, byte_order: str, offset: int, volts: float, hertz: float
) -> None:
    """E8: wrong word order, wrong byte order, addresses one off."""
    registers = {n: bytes(2) for n in range(40)}
    for address, value in ((10, volts), (12, volts - 1), (30, hertz)):
        wire = _wire(value, word_order, byte_order)
        registers |= {address + offset: wire[:2], address + offset + 1: wire[2:]}

    findings = await infer(Unit(registers).read, _GRID)

    # Registers can allow two ways that differ in the last digits; the first one found is right in the others.
    truth = {"voltage_l1_v": volts, "voltage_l2_v": volts - 1, "frequency_hz": hertz}
    assert findings[0].values == pytest.approx(truth, rel=0.01)
    if (word_order, byte_order, offset) == ("big", "big", 0):
        assert findings[0].as_profiled
        assert findings[0].values == pytest.approx(truth, abs=0.01)


async def test_a_finding_says_what_the_profile_would_have_to_say() -> None:
    """E8"""
    registers = {10: _wire(230, "little", "big"), 12: _wire(231, "little", "big"), 30: _wire(50, "little", "big")}
    unit = Unit(registers)
    [finding] = await infer(unit.read, _GRID)
    assert not finding.as_profiled
    assert str(finding) == 'word_order = "little", byte_order = "big"'
    assert finding.values == {"voltage_l1_v": 230.0, "voltage_l2_v": 231.0, "frequency_hz": 50.0}
    # With the registers around them where the unit has those, without where it refuses.
    assert unit.requests == [(3, 9, 6), (3, 10, 4), (3, 29, 4), (3, 30, 2)]


async def test_nothing_is_inferred_from_a_unit_without_volts() -> None:
    assert await infer(Unit({n: bytes(2) for n in range(40)}).read, _GRID) == ()
    assert await infer(Unit({}).read, _GRID) == ()
    assert await infer(Unit({}, silent=True).read, _GRID) == ()


async def test_a_phase_that_is_not_connected_says_nothing_against_the_map() -> None:
    unit = Unit({10: _wire(230.5, "big", "big"), 12: bytes(4), 30: _wire(50, "big", "big")})
    assert [finding.as_profiled for finding in await infer(unit.read, _GRID)] == [True]


async def test_what_only_rounds_to_no_voltage_is_no_phase_that_is_not_connected() -> None:
    """E8: 230 V with its words exchanged is 2e-41."""
    unit = Unit({10: _wire(230.5, "big", "big"), 12: _wire(230, "little", "big"), 30: _wire(50, "big", "big")})
    assert await infer(unit.read, _GRID) == ()
