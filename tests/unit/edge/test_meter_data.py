"""The maps themselves: what a meter has is there, and what comes out of its case a meter could have measured."""

import json
from math import hypot
from pathlib import Path

import pytest

from contract.quantities import BY_NAME, Kind
from edge.profiles import catalog
from edge.profiles.modbus.rows import Span

CASES = Path(__file__).parents[2] / "cases" / "profiles"
METERS = catalog.names("modbus")
PHASES = ("l1", "l2", "l3")

# The models with the map of another that is recognised by its values alone: what names itself comes first.
ALIKE = {"wago-879-3020": {"inepro-pro380"}}

# The sign of their power factor is not that of the power: it is leading or lagging and dropped, or there is none.
UNSIGNED = {"carlo-gavazzi-em24", "carlo-gavazzi-em24-e1", "siemens-pac2200", "siemens-pac3200"}


def _words(meter: str) -> dict[int, int]:
    given = json.loads((CASES / meter / "registers.json").read_text())
    assert given["profile"] == meter
    return {int(address, 16): int(word, 16) for address, word in given["registers"].items()}


def _bytes(span: Span, words: dict[int, int]) -> bytes | None:
    found = [words.get(address) for address in range(span.address, span.end)]
    return None if None in found else b"".join(word.to_bytes(2, "big") for word in found if word is not None)


def _expected(meter: str) -> dict[str, float]:
    values: dict[str, float] = json.loads((CASES / meter / "expected.json").read_text())
    return values


@pytest.mark.parametrize("meter", METERS)
def test_a_map_has_two_sources_or_says_that_it_has_one(meter: str) -> None:
    profile = catalog.modbus(meter)
    assert profile.verified or len(profile.source.split("; ")) > 1 or "single source" in profile.source


@pytest.mark.parametrize("meter", METERS)
def test_a_map_has_the_phases_of_its_meter(meter: str) -> None:
    """A meter of one phase says its power once."""
    profile = catalog.modbus(meter)
    assert profile.nominal is not None
    phases = PHASES[: profile.nominal.phases]
    of_phases = {f"{name}_{phase}_{unit}" for phase in phases for name, unit in (("voltage", "v"), ("current", "a"))}
    if len(phases) > 1:
        of_phases |= {f"power_{phase}_w" for phase in phases}
    mapped = {row.quantity for row in profile.registers}
    assert {name for name in mapped if any(f"_{phase}_" in name for phase in PHASES)} == of_phases
    assert mapped >= {"power_w", "reactive_power_var", "frequency_hz", "energy_import_wh", "energy_export_wh"}


@pytest.mark.parametrize("meter", METERS)
def test_a_case_answers_every_row_and_every_request_of_the_probe(meter: str) -> None:
    """What is missing of the expected values is so because the meter says so, not because the case does."""
    profile, words = catalog.modbus(meter), _words(meter)
    for row in (*profile.registers, *profile.identity, *profile.probe):
        assert _bytes(row, words) is not None, row


@pytest.mark.parametrize("meter", METERS)
def test_a_case_has_an_export_a_large_energy_and_what_no_meter_would_refuse(meter: str) -> None:
    """Signs, and energies that 32 bits of watt-hours or a float's 24 could not hold, are what maps get wrong."""
    values = _expected(meter)
    assert values["power_w"] < 0
    assert values["energy_import_wh"] > 2**24
    assert all(BY_NAME[name].plausible(value) for name, value in values.items())
    assert all(isinstance(values[name], int) for name in values if BY_NAME[name].kind is Kind.CUMULATIVE)


@pytest.mark.parametrize("meter", METERS)
def test_the_values_of_a_case_agree_with_each_other(meter: str) -> None:
    """Two registers taken for each other would break a sum, a triangle or a ratio."""
    values = _expected(meter)
    power, reactive = values["power_w"], values["reactive_power_var"]
    apparent = values.get("apparent_power_va", hypot(power, reactive))

    assert hypot(power, reactive) == pytest.approx(apparent, rel=1e-3)
    factor = values.get("power_factor", power / apparent)
    assert abs(factor) == pytest.approx(abs(power) / apparent, abs=1e-3)
    assert (factor < 0) == (meter not in UNSIGNED)
    if "power_l1_w" in values:
        assert sum(values[f"power_{phase}_w"] for phase in PHASES) == pytest.approx(power, abs=0.05)
        for phase in PHASES:
            limit = values[f"voltage_{phase}_v"] * values[f"current_{phase}_a"]
            assert abs(values[f"power_{phase}_w"]) <= limit
    # No two values alike: of a case with two, the wrong one would do.
    assert len(set(values.values())) == len(values)


@pytest.mark.parametrize("meter", METERS)
def test_a_meter_is_recognised_as_itself_and_as_no_other_model(meter: str) -> None:
    words = _words(meter)
    recognised = set()
    for name in METERS:
        conditions = [(probe, _bytes(probe, words)) for probe in catalog.modbus(name).probe]
        if conditions and all(data is not None and probe.holds(data) for probe, data in conditions):
            recognised.add(name)

    assert recognised - {meter} == ALIKE.get(meter, set())
    assert meter in recognised or not catalog.modbus(meter).probe


@pytest.mark.parametrize("meter", [meter for meter in METERS if catalog.modbus(meter).identity])
def test_a_meter_says_who_it_is(meter: str) -> None:
    words = _words(meter)
    said = {row.name: row.value(data) for row in catalog.modbus(meter).identity if (data := _bytes(row, words))}
    assert said == json.loads((CASES / meter / "identity.json").read_text())
