"""Faults of grid and installation: what they make of the condition at a meter's place, and of its registers."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from firmware_sim.condition import NORMAL, Condition
from firmware_sim.course import REGISTERS
from firmware_sim.faults.fault import Fault
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.load import NJ_PER_WH

_PERCENT, _LOST_PERCENT, _HZ, _FACTOR, _POWER_FACTOR, _REVERSE_W, _FALL_WH = 80.0, 3.0, 48.0, 2.0, 0.7, 1000, 1000
_FALL = "backwards"


class GridFaults:
    """Those of one meter, past ones too: what they made of the registers stays.

    `forget` is told from when on conditions are others than they were.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.forget: Callable[[int], None] = lambda _from_us: None

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)
        self.forget(fault.begin_us)

    def end(self, t_us: int) -> None:
        """Ends all of them, scheduled ones too."""
        for fault in self._faults:
            fault.end(t_us)
        self.forget(t_us)

    def at(self, t_us: int) -> Condition:
        condition = NORMAL
        for fault in self._faults:
            if fault.since_us(t_us) is not None:
                condition = _under(condition, fault.spec)
        return condition

    def next_change_us(self, t_us: int) -> int | None:
        changes = [change for fault in self._faults if (change := fault.next_change_us(t_us)) is not None]
        return min(changes, default=None)

    def falls_nj(self, t_us: int) -> dict[str, int]:
        falls = dict.fromkeys(REGISTERS, 0)
        for fault in self._faults:
            if fault.kind == _FALL and fault.since_us(t_us) == t_us:
                for name in REGISTERS if fault.spec.quantity is None else (fault.spec.quantity,):
                    falls[name] += (fault.spec.wh or _FALL_WH) * NJ_PER_WH
        return falls


def _under(condition: Condition, spec: FaultSpec) -> Condition:
    """`condition` with the fault as well: of two that fix the same thing, the later; parts multiply."""
    match spec.kind:
        case "voltage":
            return replace(condition, voltage=_reduced(condition, spec.phase, spec.percent, _PERCENT))
        case "phase-loss":
            lost = spec.phase or 1
            live = tuple(was and phase != lost for phase, was in enumerate(condition.live, 1))
            return replace(condition, live=live, voltage=_reduced(condition, lost, spec.percent, _LOST_PERCENT))
        case "frequency":
            return replace(condition, frequency_mhz=round((spec.hz or _HZ) * 1000))
        case "overload" if spec.w is not None:
            return replace(condition, steady_mw=spec.w * 1000)
        case "overload":
            return replace(condition, factor=condition.factor * _exact(spec.factor or _FACTOR))
        case "no-load":
            return replace(condition, steady_mw=0)
        case "reverse":
            return replace(condition, steady_mw=-(spec.w or _REVERSE_W) * 1000)
        case "power-factor":
            cosine = spec.value or _POWER_FACTOR
            return replace(condition, tangent=_exact(math.sqrt(1 - cosine**2) / cosine))
        case "backwards":
            # It turns registers back, and nothing else.
            return condition
    raise AssertionError(spec.kind)


def _reduced(condition: Condition, phase: int | None, told: float | None, default: float) -> tuple[Fraction, ...]:
    left = _exact(default if told is None else told) / 100
    return tuple(was * left if phase in (None, at) else was for at, was in enumerate(condition.voltage, 1))


def _exact(number: float) -> Fraction:
    """A fraction of few digits, so that registers that it multiplies stay whole numbers of an ordinary size."""
    return Fraction(number).limit_denominator(10**6)
