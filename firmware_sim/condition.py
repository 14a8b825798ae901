"""What befell grid and installation: how voltages, frequency and load are changed, and until when."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of one connection, the same until something changes.

    `voltage` is the part of each phase's voltage that is left, or more than 1. A phase that is not `live` feeds no
    load. The load draws `factor` times its power, or times `steady_mw` instead (negative: it feeds the grid). With
    `tangent` its reactive power is so much of its active power. `frequency_mhz` is the mean in millihertz, 50 Hz if
    None.
    """

    voltage: tuple[Fraction, ...] = (_ONE, _ONE, _ONE)
    live: tuple[bool, ...] = (True, True, True)
    factor: Fraction = _ONE
    steady_mw: int | None = None
    tangent: Fraction | None = None
    frequency_mhz: int | None = None

    def drawn(self, phase: int) -> Fraction:
        """How much of its load `phase` (0 to 2) draws: it is an impedance, so power follows the square of voltage."""
        return self.factor * self.voltage[phase] ** 2 if self.live[phase] else Fraction(0)


NORMAL = Condition()


class Conditions(Protocol):
    """Conditions of a connection over time, in microseconds since 1970."""

    def at(self, t_us: int) -> Condition: ...

    def next_change_us(self, t_us: int) -> int | None:
        """The first instant after `t_us` that may have another condition, or at which registers fall."""
        ...

    def falls_nj(self, t_us: int) -> Mapping[str, int]:
        """By how much registers are turned back at exactly `t_us`, by canonical name."""
        ...
