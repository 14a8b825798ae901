"""Readings of households from a seed, as noisy as a real one.

Measured on one house near Paris over 26 days (UCI Machine Learning Repository, dataset 235, one-minute means): half of
the steps of its voltage from minute to minute are below 0.40 V, from one minute to the next but one below 0.59 V, so
voltage walks, and a step grows with the square root of the time; half of the steps of its power are below 1 %, a tenth
above 22 %: loads that are switched. Between readings of a cadence other than a minute, steps are scaled by that root.
Mains frequency walks by some 5 mHz in 10 s (half of that as seen by one meter's own resolution of time).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contract.batch import DeviceBlock

START_US = 1_767_225_600_000_000
_MEDIAN = 0.6745
"""Of the absolute value of a normal variable, in standard deviations."""
_VOLT_STEP_60S = 0.40 / _MEDIAN
_POWER_STEP_60S = 0.010 / _MEDIAN
_HERTZ_STEP_10S = 0.005
_SWITCHED_60S = 0.10
# The phases of a house have most of a voltage step in common: it comes from the street.
_COMMON = 0.8


@dataclass(frozen=True, slots=True)
class Households:
    """`meters` three-phase meters that are read every `cadence_s`, with a millisecond or so of jitter; 8 quantities."""

    meters: int
    cadence_s: float
    seed: int = 7

    def blocks(self, count: int, *, start_us: int = START_US) -> Iterator[DeviceBlock]:
        """`count` readings of each meter."""
        noise = np.random.default_rng(self.seed)
        root = np.sqrt(self.cadence_s / 60)
        hertz = 50 + np.cumsum(noise.normal(0, _HERTZ_STEP_10S * np.sqrt(self.cadence_s / 10), count))
        hertz = 50 + (hertz - 50) / (1 + np.abs(hertz - 50) * 20)
        for meter in range(self.meters):
            yield self._block(noise, meter, count, root, hertz, start_us)

    def _block(
        self, noise: np.random.Generator, meter: int, count: int, root: float, hertz: np.ndarray, start_us: int
    ) -> DeviceBlock:
        step_us = round(self.cadence_s * 1e6)
        late_us = np.abs(noise.normal(0, 400, count)).astype(np.int64)
        time_us = (start_us + np.arange(count) * step_us + meter * 7919 % step_us + late_us) // 1000 * 1000
        street = noise.normal(0, _VOLT_STEP_60S * root * _COMMON, count)
        own = noise.normal(0, _VOLT_STEP_60S * root * np.sqrt(1 - _COMMON**2), (3, count))
        walk = np.cumsum(street + own, axis=1)
        voltage = np.round(235 + walk / (1 + np.abs(walk) / 15), 2)
        switched = noise.random(count) < 1 - (1 - _SWITCHED_60S) ** (self.cadence_s / 60)
        loads = noise.exponential(900, count)
        load = loads[np.maximum.accumulate(np.where(switched, np.arange(count), 0))] + 150
        power = np.round(load * (1 + noise.normal(0, _POWER_STEP_60S * root / np.sqrt(2), count)), 1)
        factor = np.round(np.clip(0.95 + 0.02 * np.tanh(np.cumsum(noise.normal(0, 0.002 * root, count))), 0, 1), 3)
        register = noise.integers(1_000_000, 50_000_000) + np.cumsum(power * self.cadence_s / 3600).astype(np.int64)
        return DeviceBlock(
            device=f"meter-{meter}",
            time_us=time_us.tolist(),
            values={
                "power_w": power.tolist(),
                "voltage_l1_v": voltage[0].tolist(),
                "voltage_l2_v": voltage[1].tolist(),
                "voltage_l3_v": voltage[2].tolist(),
                "current_l1_a": np.round(power / 3 / voltage[0] / factor, 3).tolist(),
                "frequency_hz": np.round(hertz + noise.normal(0, 0.001, count), 3).tolist(),
                "power_factor": factor.tolist(),
                "energy_import_wh": register.tolist(),
            },
            interval_ms=step_us // 1000,
        )
