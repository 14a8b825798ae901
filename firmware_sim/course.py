"""The course of a connection: its condition at any instant, and registers that went through all conditions before."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from firmware_sim.condition import NORMAL, Condition, Conditions
from firmware_sim.load import Draw, Load, SteadyLoad

REGISTERS = (
    "energy_import_wh",
    "energy_export_wh",
    "reactive_energy_import_varh",
    "reactive_energy_export_varh",
)
# Before any instant that is asked for.
_ALWAYS_US = -(10**18)


@dataclass(frozen=True, slots=True)
class Stage:
    """A time with one condition: what `load` draws is distributed to phases by `parts` of 1000, `whole` their sum.

    `reactive` is in var per 1000 W of the curve. Registers of the beginning are `registers_nj`, in the order of
    REGISTERS; the load's own counters stood at `draw` then.
    """

    begin_us: int
    condition: Condition
    load: Load | SteadyLoad
    reactive: int
    parts: tuple[float, ...]
    whole: Fraction
    draw: Draw
    registers_nj: tuple[int, ...]

    def power(self, draw: Draw) -> tuple[int, int]:
        """Active and reactive power of the whole load at its ordinary voltage, mW and mvar."""
        tangent = self.condition.tangent
        if tangent is not None:
            return draw.power_mw, draw.power_mw * tangent.numerator // tangent.denominator
        return draw.power_mw, draw.base_power_mw * self.reactive // 1000

    def counted_nj(self, draw: Draw) -> tuple[int, ...]:
        """The registers when the load's counters stand at `draw`."""
        imported, exported = draw.import_nj - self.draw.import_nj, draw.export_nj - self.draw.export_nj
        tangent = self.condition.tangent
        if tangent is None:
            lagging = abs(self.reactive) * (draw.base_import_nj - self.draw.base_import_nj) // 1000
            returned = abs(self.reactive) * exported // 1000
            if self.reactive < 0:
                lagging, returned = returned, lagging
        else:
            lagging, returned = (nj * tangent.numerator // tangent.denominator for nj in (imported, exported))
        whole = self.whole
        return tuple(
            first_nj + grown * whole.numerator // (1000 * whole.denominator)
            for first_nj, grown in zip(self.registers_nj, (imported, exported, lagging, returned), strict=True)
        )


class Course:
    """Stages of one connection. `shares` are those of its phases, of 1000 together; `key` decides a steady load's
    noise.

    Without `follow` there is one stage, for ever. Any instant can be asked for, in any order.
    """

    def __init__(self, *, load: Load, shares: Sequence[int], reactive: int, key: int) -> None:
        self._load, self._shares, self._reactive, self._key = load, shares, reactive, key
        self._conditions: Conditions | None = None
        self._stages = [self._stage(_ALWAYS_US, NORMAL, (0, 0, 0, 0))]
        self._until_us: int | None = None

    def follow(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self.forget(_ALWAYS_US)

    def forget(self, from_us: int) -> None:
        """Conditions from `from_us` on are others now."""
        self._stages = [self._stages[0], *(stage for stage in self._stages[1:] if stage.begin_us < from_us)]
        self._look_ahead()

    def at(self, t_us: int) -> Stage:
        """The stage of `t_us`."""
        while self._until_us is not None and self._until_us <= t_us:
            self._go_on(self._until_us)
            self._look_ahead()
        if len(self._stages) == 1:
            return self._stages[0]
        return self._stages[bisect_right(self._stages, t_us, key=lambda stage: stage.begin_us) - 1]

    def _look_ahead(self) -> None:
        last_us = self._stages[-1].begin_us
        self._until_us = None if self._conditions is None else self._conditions.next_change_us(last_us)

    def _go_on(self, t_us: int) -> None:
        assert self._conditions is not None
        last = self._stages[-1]
        falls_nj = self._conditions.falls_nj(t_us)
        # A register stops at 0.
        registers_nj = tuple(
            max(counted_nj - falls_nj.get(name, 0), 0)
            for name, counted_nj in zip(REGISTERS, last.counted_nj(last.load.at(t_us)), strict=True)
        )
        self._stages.append(self._stage(t_us, self._conditions.at(t_us), registers_nj))

    def _stage(self, t_us: int, condition: Condition, registers_nj: tuple[int, ...]) -> Stage:
        parts = [share * condition.drawn(phase) for phase, share in enumerate(self._shares)]
        load = self._load if condition.steady_mw is None else SteadyLoad(self._key, condition.steady_mw)
        return Stage(
            begin_us=t_us,
            condition=condition,
            load=load,
            reactive=self._reactive,
            parts=tuple(float(part) for part in parts),
            whole=sum(parts, Fraction(0)),
            # The load's counters are those of the connection until something happens to it.
            draw=Draw(0, 0, 0, 0, 0) if t_us == _ALWAYS_US else load.at(t_us),
            registers_nj=registers_nj,
        )
