"""What a household draws, as a pure function of seed, name and time, with an exact integral.

Power is constant within a second and an integer of milliwatts, so energy is an integer of nanojoules (1 mW for 1 us),
never drifting. Three parts add up, and each has a closed integral: a daily curve that is linear between quarter-hours,
appliances that run once a day for a fixed time at a time of their own, and noise that cancels out within every quarter
of an hour. Hence every day takes the same energy, and the register of any instant costs a few microseconds.

With photovoltaics the curve dips below zero around noon; noise is kept smaller than the curve and appliances run while
it is dark, so the sign of the curve is the sign of the power and import and export integrate apart.
"""

import math
from dataclasses import dataclass

from firmware_sim import chance

NJ_PER_WH = 3_600 * 10**9
DAY_S = 86_400
_QUARTER_S = 900
_QUARTERS = DAY_S // _QUARTER_S
_SLOW_NOISE_S = 90
_FRIDGE_PERIOD_S, _FRIDGE_ON_S = 2_700, 900
# 2024-01-01T00:00:00Z: registers show their start value then, so that a restarted simulator goes on where it was.
INSTALLED_S = 1_704_067_200


@dataclass(frozen=True, slots=True)
class _Appliance:
    """Draws `power_mw` for `run_s` once a day, switched on between `earliest_s` and `latest_s` after midnight."""

    key: int
    power_mw: int
    run_s: int
    earliest_s: int
    latest_s: int

    def start_s(self, day: int) -> int:
        return chance.between(self.key, day, self.earliest_s, self.latest_s)


@dataclass(frozen=True, slots=True)
class Draw:
    """Power and energy at one instant. `base_*` leaves the appliances out, which are purely resistive."""

    power_mw: int
    base_power_mw: int
    import_nj: int
    export_nj: int
    base_import_nj: int


class Load:
    """The load of one connection; never above `peak_w`, and down to about -`pv_peak_w` around noon.

    `utc_offset_s` shifts the day: local time of the household minus UTC.
    """

    def __init__(self, *, seed: int, name: str, peak_w: int, pv_peak_w: int = 0, utc_offset_s: int = 0) -> None:
        if peak_w < 50:
            raise ValueError(f"peak_w is {peak_w}; a household draws at least 50 W at its peak")
        self._key = chance.key(seed, name, "noise")
        self._slow_key = chance.key(seed, name, "slow noise")
        self._utc_offset_s = utc_offset_s
        self._peak_mw = peak_w * 1000
        style = chance.key(seed, name, "style")
        self._knots = _curve(style, peak_w, pv_peak_w)
        self._signs = [1 if self._knots[n] + self._knots[n + 1] >= 0 else -1 for n in range(_QUARTERS)]
        self._prefix = _prefix(self._knots)
        self._appliances = _appliances(seed, name, self._peak_mw, at_noon=not pv_peak_w)
        self._fridge_mw = 0 if pv_peak_w else min(120_000, self._peak_mw // 20)
        self._fridge_phase_s = chance.between(style, 8, 0, _FRIDGE_PERIOD_S - 1)
        self._start_import_nj = chance.between(style, 9, 100 * 10**6, 2_000 * 10**6) * (NJ_PER_WH // 1000)
        self._start_export_nj = chance.between(style, 10, 10**6, 500 * 10**6) * (NJ_PER_WH // 1000) if pv_peak_w else 0
        self._day_cache: tuple[int, list[tuple[int, int, int]]] | None = None

    def at(self, t_us: int) -> Draw:
        """Power and registers at `t_us`, microseconds since 1970-01-01T00:00:00Z."""
        second, within_us = divmod(t_us, 10**6)
        day, s = divmod(second + self._utc_offset_s, DAY_S)
        quarter, q = divmod(s, _QUARTER_S)
        knot, sign = self._knots[quarter], self._signs[quarter]
        slope = (self._knots[quarter + 1] - knot) // _QUARTER_S
        noise_mw, noise_mj = self._noise(day * DAY_S + s, quarter, q)
        base_mw = knot + slope * q + noise_mw
        base_mj = knot * q + slope * (q * (q - 1) // 2) + noise_mj
        extra_mw, extra_mj = self._extra(day, s)

        base_nj = base_mj * 10**6 + base_mw * within_us
        imported, exported = self._prefix[quarter]
        days = day - (INSTALLED_S + self._utc_offset_s) // DAY_S
        total_import, total_export = self._prefix[_QUARTERS]
        base_import = (days * total_import + imported) * 10**6 + (base_nj if sign > 0 else 0)
        export = (days * total_export + exported) * 10**6 - (base_nj if sign < 0 else 0)
        extra_nj = (days * self._extra_day_mj() + extra_mj) * 10**6 + extra_mw * within_us
        return Draw(
            power_mw=base_mw + extra_mw,
            base_power_mw=base_mw,
            import_nj=self._start_import_nj + base_import + extra_nj,
            export_nj=self._start_export_nj + export,
            base_import_nj=base_import,
        )

    def _noise(self, second: int, quarter: int, q: int) -> tuple[int, int]:
        """Noise now and its integral since the quarter-hour began: each draw is taken back by its opposite."""
        span = min(abs(self._knots[quarter]), abs(self._knots[quarter + 1]), self._peak_mw // 12) // 8
        if not span:
            return 0, 0
        fast = chance.between(self._key, second // 2, -span, span)
        slow = chance.between(self._slow_key, (second - q) // _SLOW_NOISE_S + q // (2 * _SLOW_NOISE_S), -span, span)
        half, into_half = divmod(q % (2 * _SLOW_NOISE_S), _SLOW_NOISE_S)
        slow_mj = slow * (_SLOW_NOISE_S - into_half if half else into_half)
        return (-fast if q % 2 else fast) + (-slow if half else slow), (fast if q % 2 else 0) + slow_mj

    def _extra(self, day: int, s: int) -> tuple[int, int]:
        """Power of the appliances now and their energy since midnight, mW and mJ."""
        if self._day_cache is None or self._day_cache[0] != day:
            runs = [(a.start_s(day), a.run_s, a.power_mw) for a in self._appliances]
            self._day_cache = (day, runs)
        power = energy = 0
        for start, run_s, mw in self._day_cache[1]:
            on_s = s - start
            if 0 <= on_s < run_s:
                power += mw
            energy += mw * min(max(on_s, 0), run_s)
        if self._fridge_mw:
            if (s + self._fridge_phase_s) % _FRIDGE_PERIOD_S < _FRIDGE_ON_S:
                power += self._fridge_mw
            energy += self._fridge_mw * (self._fridge_on_s(s) - self._fridge_on_s(0))
        return power, energy

    def _fridge_on_s(self, s: int) -> int:
        cycles, into = divmod(s + self._fridge_phase_s, _FRIDGE_PERIOD_S)
        return cycles * _FRIDGE_ON_S + min(into, _FRIDGE_ON_S)

    def _extra_day_mj(self) -> int:
        fridge = self._fridge_mw * (DAY_S // _FRIDGE_PERIOD_S) * _FRIDGE_ON_S
        return fridge + sum(a.power_mw * a.run_s for a in self._appliances)


class SteadyLoad:
    """A load of `mean_mw`, negative for export, with half a per cent of noise that cancels out in every two seconds.

    It counts since 1970.
    """

    def __init__(self, key: int, mean_mw: int) -> None:
        self._key, self._mean_mw = key, mean_mw
        self._span_mw = abs(mean_mw) // 200

    def at(self, t_us: int) -> Draw:
        second, within_us = divmod(t_us, 10**6)
        noise_mw = chance.between(self._key, second // 2, -self._span_mw, self._span_mw)
        energy_nj = self._mean_mw * t_us + noise_mw * (10**6 - within_us if second % 2 else within_us)
        power_mw = self._mean_mw + (-noise_mw if second % 2 else noise_mw)
        import_nj, export_nj = max(energy_nj, 0), max(-energy_nj, 0)
        return Draw(power_mw, power_mw, import_nj, export_nj, import_nj)


def _curve(style: int, peak_w: int, pv_peak_w: int) -> list[int]:
    """97 corners of the day in mW, the last one the first: multiples of 900, so that slopes are whole mW per second."""
    morning_h = 7.25 + chance.between(style, 0, -45, 45) / 60
    evening_h = 19.25 + chance.between(style, 1, -60, 60) / 60
    base = chance.between(style, 2, 40, 70) / 1000
    heights = chance.between(style, 3, 60, 120) / 1000, chance.between(style, 4, 110, 180) / 1000
    whole = []
    for quarter in range(_QUARTERS):
        hour = quarter / 4
        share = base + 0.02 * math.exp(-(((hour - 13) / 3) ** 2))
        share += heights[0] * math.exp(-(((hour - morning_h) / 1.1) ** 2))
        share += heights[1] * math.exp(-(((hour - evening_h) / 1.9) ** 2))
        sun = math.sin(math.pi * (hour - 8.5) / 8) ** 2 if 8.5 < hour < 16.5 else 0.0
        units = round((share * peak_w - sun * pv_peak_w) / 0.9)
        whole.append(_QUARTER_S * (units if sun else max(units, 1)))
    for n in range(_QUARTERS - 1):
        if whole[n] * whole[n + 1] < 0:
            # The curve crosses zero at a corner, never between two: sums of import and of export stay apart.
            nearer = n if abs(whole[n]) < abs(whole[n + 1]) else n + 1
            whole[nearer] = 0
    return [*whole, whole[0]]


def _prefix(knots: list[int]) -> list[tuple[int, int]]:
    """Import and export of the curve from midnight to each corner, mJ."""
    sums = [(0, 0)]
    for n in range(_QUARTERS):
        slope = (knots[n + 1] - knots[n]) // _QUARTER_S
        energy = knots[n] * _QUARTER_S + slope * (_QUARTER_S * (_QUARTER_S - 1) // 2)
        imported, exported = sums[-1]
        sums.append((imported + max(energy, 0), exported + max(-energy, 0)))
    return sums


def _appliances(seed: int, name: str, peak_mw: int, *, at_noon: bool) -> list[_Appliance]:
    """Kettle, cooker and washing machine. At noon only where nothing is exported then."""

    def of(what: str, share: float, run_s: int, earliest_h: float, latest_h: float) -> _Appliance:
        of_it = chance.key(seed, name, what)
        power_mw = round(peak_mw * share * chance.between(of_it, -1, 70, 100) / 100)
        return _Appliance(of_it, power_mw, run_s, round(earliest_h * 3600), round(latest_h * 3600))

    daily = [
        of("kettle", 0.30, 180, 5.5, 8.0),
        of("evening kettle", 0.15, 150, 19.0, 22.0),
        of("cooker", 0.25, 2_400, 17.0, 19.5),
        of("washing machine", 0.20, 5_400, 17.5, 21.5),
    ]
    return [*daily, of("lunch", 0.25, 1_500, 11.0, 13.5)] if at_noon else daily
