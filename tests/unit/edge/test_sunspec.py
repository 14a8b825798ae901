"""Discovery of SunSpec meters, on registers that the SunSpec Alliance's own library encodes."""

import contextlib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec2 import device

from edge.errors import ModbusFault
from edge.profiles.modbus import sunspec
from edge.profiles.modbus.schema import ModbusProfile
from edge.reading import canonical
from tests.unit.edge.units import Unit

_INTEGER_MODELS, _FLOAT_MODELS = (201, 202, 203, 204), (211, 212, 213, 214)
_COMMON = {"Mn": "Acme", "Md": "Meter 3", "Vr": "1.2", "SN": "SN-0042", "DA": 1}
_INTEGERS = {
    "A": 105, "AphA": 35, "AphB": 34, "AphC": -36, "A_SF": -1,
    "PhV": 2300, "PhVphA": 2305, "PhVphB": 2310, "PhVphC": 2295, "V_SF": -1,
    "Hz": 4998, "Hz_SF": -2, "W": -123, "WphA": 10, "WphB": -70, "WphC": -63, "W_SF": 1,
    "VA": 130, "VA_SF": 1, "VAR": 20, "VAR_SF": 1, "PF": -95, "PF_SF": 0,
    "TotWhExp": 7, "TotWhImp": 123456, "TotWh_SF": 1,
}  # fmt: skip
_FLOATS = {
    "AphA": 3.5, "AphB": 3.4, "AphC": -3.6, "PhVphA": 230.5, "PhVphB": 231, "PhVphC": 229.5, "Hz": 49.98,
    "W": -1230, "WphA": 100, "WphB": -700, "WphC": -630, "VA": 1300, "VAR": 200, "PF": -0.95,
    "TotWhExp": 70, "TotWhImp": 1234560,
}  # fmt: skip
_EXPECTED = {
    "current_l1_a": 3.5, "current_l2_a": 3.4, "current_l3_a": -3.6,
    "voltage_l1_v": 230.5, "voltage_l2_v": 231.0, "voltage_l3_v": 229.5, "frequency_hz": 49.98,
    "power_w": -1230, "power_l1_w": 100, "power_l2_w": -700, "power_l3_w": -630,
    "apparent_power_va": 1300, "reactive_power_var": 200, "power_factor": -0.95,
    "energy_export_wh": 70, "energy_import_wh": 1234560,
}  # fmt: skip


def _model(model_id: int, points: Mapping[str, float | str]) -> bytes:
    """A model with its id and length as pysunspec2 writes it; points that are not named are not implemented."""
    length = 66 if model_id == 1 else 105 if model_id in _INTEGER_MODELS else 124
    model = device.Model(model_id=model_id, model_len=length)
    for name, value in points.items():
        model.points[name].value = value
    return bytes(model.get_mb())


def _meter(model_id: int) -> bytes:
    return _model(model_id, _INTEGERS if model_id in _INTEGER_MODELS else _FLOATS)


def _unit(*models: bytes, base: int = 40000, end: bytes = b"\xff\xff\x00\x00", silent: bool = False) -> Unit:
    return Unit({base: b"SunS" + b"".join(models) + end}, silent=silent)


async def _values(unit: Unit, profile: ModbusProfile) -> dict[str, float]:
    blocks = profile.blocks()
    replies = [await unit.read(function=b.function, address=b.address, count=b.count) for b in blocks]
    return profile.decoder(blocks)(replies).values


@pytest.mark.parametrize("base", [40000, 50000, 0])
@pytest.mark.parametrize("model_id", [*_INTEGER_MODELS, *_FLOAT_MODELS])
async def test_a_meter_is_found_and_read(model_id: int, base: int) -> None:
    unit = _unit(_model(1, _COMMON), _meter(model_id), base=base)

    profile = await sunspec.discover(unit.read)

    phases = {1: 1, 2: 2, 3: 3, 4: 3}[model_id % 10]
    beyond = {f"_l{n}_" for n in range(phases + 1, 4)}
    expected = {name: value for name, value in _EXPECTED.items() if not any(part in name for part in beyond)}
    assert await _values(unit, profile) == expected
    assert len(profile.blocks()) == 1
    assert (profile.maker, profile.model) == ("Acme", "Meter 3")


async def test_the_device_says_who_it_is() -> None:
    unit = _unit(_model(1, _COMMON), _meter(203))
    profile = await sunspec.discover(unit.read)
    said = {
        row.name: row.value(await unit.read(function=row.function, address=row.address, count=row.width))
        for row in profile.identity
    }
    assert said == {"manufacturer": "Acme", "model": "Meter 3", "version": "1.2", "serial_number": "SN-0042"}


@pytest.mark.parametrize("model_id", [*_INTEGER_MODELS, *_FLOAT_MODELS])
async def test_what_is_not_implemented_is_absent(model_id: int) -> None:
    """E6: 0x8000, a power of ten that is none, an accumulator of 0, and NaN."""
    unit = _unit(_model(1, _COMMON), _model(model_id, {}))
    profile = await sunspec.discover(unit.read)
    assert await _values(unit, profile) == {}


_POINTS = {
    "current_l1_a": ("AphA", "A_SF"), "voltage_l3_v": ("PhVphC", "V_SF"), "frequency_hz": ("Hz", "Hz_SF"),
    "power_w": ("W", "W_SF"), "power_l2_w": ("WphB", "W_SF"), "apparent_power_va": ("VA", "VA_SF"),
    "reactive_power_var": ("VAR", "VAR_SF"), "energy_import_wh": ("TotWhImp", "TotWh_SF"),
    "energy_export_wh": ("TotWhExp", "TotWh_SF"),
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
async def test_scaled_values_are_those_of_the_alliances_own_library(data: st.DataObject) -> None:
    factors = sorted({factor for _, factor in _POINTS.values()})
    points: dict[str, int] = {name: data.draw(st.one_of(st.integers(-4, 4), st.just(-0x8000))) for name in factors}
    for quantity, (point, _) in _POINTS.items():
        points[point] = data.draw(
            st.integers(0, 2**31) if quantity.startswith("energy") else st.integers(-0x8000, 0x7FFF)
        )
    encoded = _model(203, points)
    theirs = device.Model(model_id=203, model_len=105, data=encoded)
    unit = _unit(_model(1, _COMMON), encoded)

    found = await _values(unit, await sunspec.discover(unit.read))

    expected = {
        quantity: canonical({quantity: theirs.points[point].cvalue})[0][quantity]
        for quantity, (point, factor) in _POINTS.items()
        # Their library takes a value without its power of ten as it is; to us it is none.
        if theirs.points[point].value is not None and points[factor] != -0x8000
    }
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("model_id", [201, 211])
async def test_a_single_phase_without_its_own_voltage_has_the_average(model_id: int) -> None:
    real = {"PhV": 229.5} if model_id == 211 else {"PhV": 2295, "V_SF": -1}
    unit = _unit(_model(1, _COMMON), _model(model_id, real))
    assert await _values(unit, await sunspec.discover(unit.read)) == {"voltage_l1_v": 229.5}


async def test_models_before_the_meter_are_passed_over() -> None:
    inverter = (101).to_bytes(2, "big") + (50).to_bytes(2, "big") + bytes(100)
    unit = _unit(_model(1, _COMMON), inverter, _meter(213))
    profile = await sunspec.discover(unit.read)
    assert (await _values(unit, profile))["power_w"] == -1230
    assert "models 1, 101, 213" in profile.source


async def test_of_several_meters_the_first_is_read_and_that_is_said() -> None:
    unit = _unit(_model(1, _COMMON), _meter(203), _model(1, _COMMON), _model(203, {"W": 1, "W_SF": 0}))
    profile = await sunspec.discover(unit.read)
    assert (await _values(unit, profile))["power_w"] == -1230
    assert "models 1, 203, 1, 203; of 2 meters the first is read" in profile.source


async def test_a_unit_without_sunspec_says_what_stands_at_its_addresses() -> None:
    unit = Unit({40000: b"\x00\x01\x00\x02" * 4})
    with pytest.raises(ModbusFault, match=r"no SunSpec device: not 'SunS' at 40000: 00010002; at 50000: exception 2"):
        await sunspec.discover(unit.read)


async def test_a_base_address_that_gets_no_answer_does_not_hide_the_next() -> None:
    unit = _unit(_model(1, _COMMON), _meter(203), base=0, silent=True)
    assert (await sunspec.discover(unit.read)).registers


_OTHER = (103).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("models", "end", "reason"),
    [
        ([], b"\xff\xff\x00\x00", "models 1; none of them is a meter"),
        ([], b"", "the chain is cut at 40070: exception 2"),
        ([], bytes(4), "the chain has no end: model 0 of 0 registers at 40070"),
        ([_OTHER + b"\xff\x00"], b"", "the chain has no end: model 103 of 65280 registers at 40070, after 1 models"),
        ([_OTHER + b"\x00\x00"] * 100, b"", "the chain has no end: .* after 60 models"),
        ([b"\x00\xcb\x00\x0a" + bytes(20)], b"\xff\xff\x00\x00", "203 at 40070 has 10 registers, 53 at least"),
    ],
)
async def test_a_chain_that_is_cut_or_lies_is_an_error_that_says_so(
    models: list[bytes], end: bytes, reason: str
) -> None:
    unit = _unit(_model(1, _COMMON), *models, end=end)
    with pytest.raises(ModbusFault, match=reason):
        await sunspec.discover(unit.read)
    assert len(unit.requests) <= 65


async def test_a_meter_before_the_cut_is_read_all_the_same() -> None:
    unit = _unit(_model(1, _COMMON), _meter(203), end=b"")
    assert (await _values(unit, await sunspec.discover(unit.read)))["power_w"] == -1230


_HEADERS = st.tuples(st.sampled_from([0, 1, 103, 203, 213, 0xFFFF]), st.sampled_from([0, 2, 53, 66, 105, 0xFFFF]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_HEADERS, st.integers(0, 130)), max_size=8))
async def test_no_chain_leads_astray(models: list[tuple[tuple[int, int], int]]) -> None:
    """Whatever lengths are claimed, and however many registers follow: a profile, or an error, in a few requests."""
    encoded = [
        number.to_bytes(2, "big") + length.to_bytes(2, "big") + bytes(2 * registers)
        for (number, length), registers in models
    ]
    unit = _unit(*encoded, end=b"")
    profile = None
    with contextlib.suppress(ModbusFault):
        profile = await sunspec.discover(unit.read)
    if profile is not None:
        assert any(number in (203, 213) for (number, _), _ in models)
        assert profile.blocks()
    assert len(unit.requests) <= 70
