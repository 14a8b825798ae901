"""The one table of quantities: every driver, profile, batch, column and API field maps onto it; none may extend it.

Signs follow the load convention of IEC 62053-23: active power is positive while energy flows to the customer (import)
and negative while it flows to the grid (export). Export energy has a register of its own and never makes the import
register run backwards.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    INSTANTANEOUS = "instantaneous"
    """A sample of the moment; stored as a 32-bit float after rounding to the quantity's resolution."""
    CUMULATIVE = "cumulative"
    """A register that only grows, except at a rollover, a reset or an exchange; stored as a 64-bit integer."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measured quantity.

    `minimum` and `maximum` bound what a meter can plausibly report, in `unit`, both inclusive: wide enough for a
    high-voltage feeder, narrow enough to stop a wrong word order. `decimals` is the resolution kept from the driver
    to the database.
    """

    name: str
    unit: str
    kind: Kind
    minimum: float
    maximum: float
    decimals: int
    meaning: str

    def canonical(self, value: float) -> float | int:
        """`value`, in `unit`, at the resolution that is kept: half to even, an `int` for registers.

        Raises ValueError on NaN and OverflowError on infinity for a register; other kinds pass them through.
        """
        return round(value) if self.kind is Kind.CUMULATIVE else round(value, self.decimals)

    def plausible(self, value: float) -> bool:
        """Whether `value` lies within the valid range; NaN does not."""
        return self.minimum <= value <= self.maximum


def _instantaneous(name: str, unit: str, bounds: tuple[float, float], decimals: int, meaning: str) -> Quantity:
    return Quantity(name, unit, Kind.INSTANTANEOUS, *bounds, decimals, meaning)


def _register(name: str, unit: str, meaning: str) -> Quantity:
    return Quantity(name, unit, Kind.CUMULATIVE, 0, 10**13, 0, meaning)


_POWER = (-1e8, 1e8)
_VOLTAGE = (0, 5e5)
_CURRENT = (-1e5, 1e5)

QUANTITIES: tuple[Quantity, ...] = (
    _instantaneous("power_w", "W", _POWER, 1, "active power, all phases"),
    _instantaneous("power_l1_w", "W", _POWER, 1, "active power, phase L1"),
    _instantaneous("power_l2_w", "W", _POWER, 1, "active power, phase L2"),
    _instantaneous("power_l3_w", "W", _POWER, 1, "active power, phase L3"),
    _instantaneous("apparent_power_va", "VA", _POWER, 1, "apparent power, all phases"),
    _instantaneous("reactive_power_var", "var", _POWER, 1, "reactive power, all phases"),
    _instantaneous("power_factor", "1", (-1, 1), 3, "power factor, all phases"),
    _instantaneous("voltage_l1_v", "V", _VOLTAGE, 2, "voltage, phase L1 to neutral"),
    _instantaneous("voltage_l2_v", "V", _VOLTAGE, 2, "voltage, phase L2 to neutral"),
    _instantaneous("voltage_l3_v", "V", _VOLTAGE, 2, "voltage, phase L3 to neutral"),
    _instantaneous("current_l1_a", "A", _CURRENT, 3, "current, phase L1"),
    _instantaneous("current_l2_a", "A", _CURRENT, 3, "current, phase L2"),
    _instantaneous("current_l3_a", "A", _CURRENT, 3, "current, phase L3"),
    _instantaneous("frequency_hz", "Hz", (15, 70), 3, "grid frequency"),
    _register("energy_import_wh", "Wh", "active energy delivered to the customer"),
    _register("energy_export_wh", "Wh", "active energy received from the customer"),
    _register("reactive_energy_import_varh", "varh", "reactive energy, import register"),
    _register("reactive_energy_export_varh", "varh", "reactive energy, export register"),
)

BY_NAME: dict[str, Quantity] = {quantity.name: quantity for quantity in QUANTITIES}
