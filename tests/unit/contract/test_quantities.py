"""The table of quantities."""

import math

import pytest

from contract.quantities import BY_NAME, QUANTITIES, Kind


def test_names_are_unique_and_end_in_their_unit() -> None:
    suffix = {
        "W": "w",
        "VA": "va",
        "var": "var",
        "V": "v",
        "A": "a",
        "Hz": "hz",
        "Wh": "wh",
        "varh": "varh",
        "1": "factor",
    }

    assert len(BY_NAME) == len(QUANTITIES)
    for quantity in QUANTITIES:
        assert quantity.name.rsplit("_", 1)[1] == suffix[quantity.unit]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("energy_import_wh", 26289.57, 26290),
        ("energy_import_wh", 2.5, 2),
        ("power_w", -18.017, -18.0),
        ("voltage_l1_v", 230.10000610351562, 230.1),
        ("frequency_hz", 49.98765, 49.988),
    ],
)
def test_values_are_kept_at_the_resolution_of_their_quantity(name: str, value: float, kept: float) -> None:
    canonical = BY_NAME[name].canonical(value)

    assert canonical == kept
    assert isinstance(canonical, int) == (BY_NAME[name].kind is Kind.CUMULATIVE)


def test_the_valid_range_is_inclusive_and_holds_no_nan() -> None:
    factor = BY_NAME["power_factor"]

    assert factor.plausible(1)
    assert factor.plausible(-1)
    assert not factor.plausible(1.001)
    assert not factor.plausible(math.nan)


def test_registers_stay_exact_in_a_64_bit_float() -> None:
    assert all(quantity.maximum < 2**53 for quantity in QUANTITIES if quantity.kind is Kind.CUMULATIVE)
