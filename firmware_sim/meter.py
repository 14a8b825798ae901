"""A meter at its connection: load, voltage and frequency as one consistent snapshot of an instant."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from firmware_sim import chance
from firmware_sim.load import NJ_PER_WH, Load

REGISTERS = (
    "energy_import_wh",
    "energy_export_wh",
    "reactive_energy_import_varh",
    "reactive_energy_export_varh",
)


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
    own clock is ahead, `alter` what faults do to what it tells.
    """

    def __init__(
        self, *, seed: int, name: str, peak_w: int, pv_peak_w: int = 0, phases: int = 3, utc_offset_s: int = 0
    ) -> None:
        self.name, self.phases = name, phases
        self.clock_error_us = 0
        self.alter: Callable[[Snapshot, Meter], Snapshot] | None = None
        self._load = Load(seed=seed, name=name, peak_w=peak_w, pv_peak_w=pv_peak_w, utc_offset_s=utc_offset_s)
        self._peak_mw = (peak_w + pv_peak_w) * 1000
        self.serial_number = chance.between(chance.key(seed, name, "serial number"), 0, 10_000_000, 99_999_999)
        self._voltage_key = chance.key(seed, name, "voltage")
        self._frequency_key = chance.key(seed, "grid frequency")
        style = chance.key(seed, name, "phases")
        first = chance.between(style, 0, 250, 450)
        second = chance.between(style, 1, 200, 400)
        self._shares = (1000,) if phases == 1 else (first, second, 1000 - first - second)
        # var per 1000 W of the curve. A capacitive base load (negative) is for households without photovoltaics.
        self._reactive = chance.between(style, 2, 150, 450) * (1 if pv_peak_w or chance.draw(style, 3) % 4 else -1)

    def at(self, t_us: int) -> Snapshot:
        """What the meter tells at `t_us` by its own clock, microseconds since 1970: measured, and altered by faults."""
        snapshot = self.measured(t_us - self.clock_error_us)
        return snapshot if self.alter is None else self.alter(snapshot, self)

    def measured(self, t_us: int) -> Snapshot:
        """The true snapshot of `t_us`."""
        draw = self._load.at(t_us)
        second = t_us // 10**6
        power_mw, reactive_mvar = draw.power_mw, draw.base_power_mw * self._reactive // 1000
        apparent_mva = math.hypot(power_mw, reactive_mvar)
        values = {
            "power_w": power_mw / 1000,
            "reactive_power_var": reactive_mvar / 1000,
            "apparent_power_va": apparent_mva / 1000,
            "power_factor": power_mw / apparent_mva if apparent_mva else 1.0,
            "frequency_hz": (50_000 + chance.between(self._frequency_key, second, -25, 25)) / 1000,
        }
        for phase, share in enumerate(self._shares, 1):
            voltage_mv = self._voltage_mv(second, phase, power_mw * share // 1000)
            values[f"voltage_l{phase}_v"] = voltage_mv / 1000
            values[f"power_l{phase}_w"] = power_mw * share / 1e6
            values[f"current_l{phase}_a"] = apparent_mva * share / 1000 / voltage_mv
        lagging = abs(self._reactive) * draw.base_import_nj // 1000
        returned = abs(self._reactive) * draw.export_nj // 1000
        turned = self._reactive < 0
        registers = (draw.import_nj, draw.export_nj, returned if turned else lagging, lagging if turned else returned)
        return Snapshot(t_us, values, dict(zip(REGISTERS, registers, strict=True)), self.serial_number)

    def _voltage_mv(self, second: int, phase: int, power_mw: int) -> int:
        """230 V, higher at night, 0.4 V of noise, and 3 V less at full load."""
        day = round(1200 * math.cos(2 * math.pi * (second % 86_400) / 86_400))
        noise = chance.between(self._voltage_key, 3 * second + phase, -400, 400)
        return 230_000 + day + noise - 3000 * power_mw // self._peak_mw
