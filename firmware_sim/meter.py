"""A meter at its connection: load, voltage and frequency as one consistent snapshot of an instant."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from firmware_sim import chance
from firmware_sim.course import REGISTERS, Course
from firmware_sim.load import NJ_PER_WH, Load

QUANTITIES = (
    *("power_w", "power_l1_w", "power_l2_w", "power_l3_w", "reactive_power_var", "apparent_power_va", "power_factor"),
    *("voltage_l1_v", "voltage_l2_v", "voltage_l3_v", "current_l1_a", "current_l2_a", "current_l3_a", "frequency_hz"),
    *REGISTERS,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a meter measures at `t_us`. `values` are in W, var, VA, V, A, Hz; `registers_nj` in nJ (nvars).

    A value that is NaN, there or instead of a register, is one that the meter says it cannot measure now.
    """

    t_us: int
    values: dict[str, float]
    registers_nj: dict[str, int]
    serial_number: int = 0

    def value(self, quantity: str) -> float | None:
        """In the quantity's own unit, energies in Wh or varh; None where the meter has no such quantity."""
        counted_nj = self.registers_nj.get(quantity)
        return self.values.get(quantity) if counted_nj is None else counted_nj / NJ_PER_WH


class Meter:
    """One simulated connection. The same seed, name and time give the same snapshot, in any order of asking.

    `phases` is 1 or 3: a single-phase connection has no `*_l2_*` and `*_l3_*` values. `clock_error_us` is how far its
    own clock is ahead, `alter` what faults do to what it tells, `course` what befell grid and installation.
    """

    def __init__(
        self, *, seed: int, name: str, peak_w: int, pv_peak_w: int = 0, phases: int = 3, utc_offset_s: int = 0
    ) -> None:
        self.name, self.phases = name, phases
        self.clock_error_us = 0
        self.alter: Callable[[Snapshot, Meter], Snapshot] | None = None
        self._peak_mw = (peak_w + pv_peak_w) * 1000
        self.serial_number = chance.between(chance.key(seed, name, "serial number"), 0, 10_000_000, 99_999_999)
        self._voltage_key = chance.key(seed, name, "voltage")
        self._frequency_key = chance.key(seed, "grid frequency")
        style = chance.key(seed, name, "phases")
        first = chance.between(style, 0, 250, 450)
        second = chance.between(style, 1, 200, 400)
        self._shares = (1000,) if phases == 1 else (first, second, 1000 - first - second)
        # var per 1000 W of the curve. A capacitive base load (negative) is for households without photovoltaics.
        reactive = chance.between(style, 2, 150, 450) * (1 if pv_peak_w or chance.draw(style, 3) % 4 else -1)
        self.course = Course(
            load=Load(seed=seed, name=name, peak_w=peak_w, pv_peak_w=pv_peak_w, utc_offset_s=utc_offset_s),
            shares=self._shares,
            reactive=reactive,
            key=chance.key(seed, name, "steady load"),
        )

    def at(self, t_us: int) -> Snapshot:
        """What the meter tells at `t_us` by its own clock, microseconds since 1970: measured, and altered by faults."""
        snapshot = self.measured(t_us - self.clock_error_us)
        return snapshot if self.alter is None else self.alter(snapshot, self)

    def measured(self, t_us: int) -> Snapshot:
        """The true snapshot of `t_us`."""
        stage, second = self.course.at(t_us), t_us // 10**6
        draw, condition = stage.load.at(t_us), stage.condition
        # Of the whole load, of which the phases draw their parts.
        load_mw, load_mvar = stage.power(draw)
        load_mva = math.hypot(load_mw, load_mvar)
        whole = float(stage.whole)
        frequency_mhz = 50_000 if condition.frequency_mhz is None else condition.frequency_mhz
        values = {
            "power_w": load_mw * whole / 1e6,
            "reactive_power_var": load_mvar * whole / 1e6,
            "apparent_power_va": load_mva * whole / 1e6,
            "power_factor": load_mw / load_mva if load_mva and whole else 1.0,
            "frequency_hz": (frequency_mhz + chance.between(self._frequency_key, second, -25, 25)) / 1000,
        }
        for phase, (share, part, left) in enumerate(zip(self._shares, stage.parts, condition.voltage, strict=False), 1):
            voltage_mv = self._voltage_mv(second, phase, load_mw * share // 1000) * left.numerator // left.denominator
            values[f"voltage_l{phase}_v"] = voltage_mv / 1000
            values[f"power_l{phase}_w"] = load_mw * part / 1e6
            values[f"current_l{phase}_a"] = load_mva * part / 1000 / voltage_mv if voltage_mv else 0.0
        registers = dict(zip(REGISTERS, stage.counted_nj(draw), strict=True))
        return Snapshot(t_us, values, registers, self.serial_number)

    def _voltage_mv(self, second: int, phase: int, power_mw: int) -> int:
        """230 V, higher at night, 0.4 V of noise, and 3 V less at full load, which is the most."""
        day = round(1200 * math.cos(2 * math.pi * (second % 86_400) / 86_400))
        noise = chance.between(self._voltage_key, 3 * second + phase, -400, 400)
        drop = 3000 * min(max(power_mw, -self._peak_mw), self._peak_mw) // self._peak_mw
        return 230_000 + day + noise - drop
