"""What is left of readings when space runs out."""

import pytest

from edge.buffer.segments import QUARTER_HOUR_US, reduce, thin
from edge.reading import Reading

_START_US = 1_795_000_200_000_000 // QUARTER_HOUR_US * QUARTER_HOUR_US


def _reading(quarter: int, second: int, register_wh: int | None, device: str = "meter") -> Reading:
    values = {"power_w": 1.0} if register_wh is None else {"power_w": 1.0, "energy_import_wh": register_wh}
    return Reading(device, _START_US + quarter * QUARTER_HOUR_US + second * 1_000_000, values)


@pytest.mark.parametrize("order", [1, -1])
def test_of_each_quarter_of_an_hour_the_last_registers_stay_whatever_the_order(order: int) -> None:
    """E20: the energy up to the end of the quarter is what a bill needs."""
    readings = [_reading(quarter, second, 100 * quarter + second) for quarter in (0, 1) for second in (0, 450, 899)]
    kept = thin(readings[::order])
    assert [(reading.time_us, reading.values) for reading in kept] == [
        (_reading(0, 899, 0).time_us, {"energy_import_wh": 899}),
        (_reading(1, 899, 0).time_us, {"energy_import_wh": 999}),
    ]


def test_a_reading_without_registers_takes_the_place_of_none() -> None:
    kept = thin([_reading(0, 10, 5), _reading(0, 20, None), _reading(0, 15, 7, "other")])
    assert [(reading.device, reading.values) for reading in kept] == [
        ("meter", {"energy_import_wh": 5}),
        ("other", {"energy_import_wh": 7}),
    ]


def test_a_register_takes_the_place_of_no_other() -> None:
    """E20: a broker's meter may tell each in a message of its own."""
    one = Reading("meter", _START_US, {"energy_import_wh": 1})
    other = Reading("meter", _START_US + 1, {"energy_export_wh": 2})
    assert thin([one, other]) == [one, other]


@pytest.mark.parametrize("order", [1, -1])
def test_reducing_keeps_every_register_and_the_last_whole_reading_of_each_quarter(order: int) -> None:
    """E20"""
    readings = [_reading(quarter, second, 100 * quarter + second) for quarter in (0, 1) for second in (0, 450, 899)]
    kept = reduce(readings[::order])
    assert [reading.values["energy_import_wh"] for reading in kept] == [0, 450, 899, 100, 550, 999][::order]
    assert [reading.values["energy_import_wh"] for reading in kept if "power_w" in reading.values] == [899, 999][
        ::order
    ]


def test_of_readings_without_registers_the_last_of_each_quarter_stays() -> None:
    readings = [_reading(quarter, second, None) for quarter in (0, 1) for second in (0, 899)]
    assert reduce(readings) == [readings[1], readings[3]]


def test_what_has_registers_alone_is_not_touched() -> None:
    readings = [Reading("meter", _START_US + second, {"energy_import_wh": second}) for second in range(5)]
    kept = reduce(readings)
    assert all(one is other for one, other in zip(kept, readings, strict=True))
