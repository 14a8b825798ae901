import itertools

import pytest

from firmware_sim.load import DAY_S, Load
from firmware_sim.meter import Meter

# 2026-03-01T00:00:00Z
MIDNIGHT_US = 1_772_323_200 * 10**6
SECOND_US = 10**6


def _load(name: str = "house", **kwargs: int) -> Load:
    return Load(seed=7, name=name, peak_w=6000, **kwargs)


@pytest.mark.parametrize("pv_peak_w", [0, 4000])
def test_registers_are_the_exact_integral_of_power_over_a_whole_day(pv_peak_w: int) -> None:
    """E7: a register that does not follow from the power served could not expose a wrong one."""
    load = _load(pv_peak_w=pv_peak_w)
    start = load.at(MIDNIGHT_US)
    imported = exported = 0
    for second in range(DAY_S):
        power_mw = load.at(MIDNIGHT_US + second * SECOND_US).power_mw
        imported += max(power_mw, 0) * 10**6
        exported += max(-power_mw, 0) * 10**6
    end = load.at(MIDNIGHT_US + DAY_S * SECOND_US)
    assert (end.import_nj - start.import_nj, end.export_nj - start.export_nj) == (imported, exported)
    assert imported > 0
    assert (exported > 0) == bool(pv_peak_w)


def test_registers_grow_within_a_second_by_power_times_time() -> None:
    load = _load()
    at_us = MIDNIGHT_US + 7 * 3600 * SECOND_US
    before, after = load.at(at_us), load.at(at_us + 123_456)
    assert after.import_nj - before.import_nj == before.power_mw * 123_456


def test_registers_never_run_backwards_over_months() -> None:
    load = _load(pv_peak_w=4000)
    draws = [load.at(MIDNIGHT_US + step * 1_237 * SECOND_US) for step in range(8_000)]
    assert all(a.import_nj <= b.import_nj for a, b in itertools.pairwise(draws))
    assert all(a.export_nj <= b.export_nj for a, b in itertools.pairwise(draws))


def test_power_stays_between_the_photovoltaic_peak_and_the_peak_load() -> None:
    load = _load(pv_peak_w=4000)
    powers = [load.at(MIDNIGHT_US + s * SECOND_US).power_mw for s in range(0, DAY_S, 7)]
    assert -4_400_000 < min(powers) < -2_000_000
    assert 1_000_000 < max(powers) <= 6_000_000


def test_a_day_has_peaks_in_the_morning_and_in_the_evening_and_appliances_that_switch() -> None:
    load = _load()
    power_w = [load.at(MIDNIGHT_US + s * SECOND_US).power_mw // 1000 for s in range(DAY_S)]

    def mean(hours: range) -> float:
        seconds = [s for hour in hours for s in range(hour * 3600, (hour + 1) * 3600)]
        return sum(power_w[s] for s in seconds) / len(seconds)

    assert mean(range(6, 9)) > 1.2 * mean(range(1, 4))
    assert mean(range(18, 21)) > 2 * mean(range(1, 4))
    assert sum(1 for a, b in itertools.pairwise(power_w) if abs(b - a) > 500) >= 6


def test_the_day_follows_the_clock_of_the_household() -> None:
    here, elsewhere = _load(), _load(utc_offset_s=6 * 3600)
    eight_us = MIDNIGHT_US + 8 * 3600 * SECOND_US
    assert here.at(eight_us).power_mw == elsewhere.at(eight_us - 6 * 3600 * SECOND_US).power_mw


def test_the_same_seed_name_and_time_give_the_same_snapshot_in_any_order() -> None:
    times = [MIDNIGHT_US + step * 977 * SECOND_US for step in range(300)]
    one, other = (Meter(seed=7, name="house", peak_w=6000, pv_peak_w=3000) for _ in range(2))
    forward = [one.at(t) for t in times]
    assert forward == [other.at(t) for t in reversed(times)][::-1]


def test_another_seed_or_name_gives_other_registers_and_powers() -> None:
    at_us = MIDNIGHT_US + 9 * 3600 * SECOND_US
    meters = [Meter(seed=seed, name=name, peak_w=6000) for seed, name in ((1, "a"), (1, "b"), (2, "a"))]
    snapshots = [meter.at(at_us) for meter in meters]
    assert len({snapshot.values["power_w"] for snapshot in snapshots}) == 3
    assert len({snapshot.registers_nj["energy_import_wh"] for snapshot in snapshots}) == 3


def test_a_snapshot_is_consistent_and_plausible() -> None:
    meter = Meter(seed=7, name="house", peak_w=6000, pv_peak_w=4000)
    for step in range(500):
        values = meter.at(MIDNIGHT_US + step * 173 * SECOND_US).values
        assert sum(values[f"power_l{n}_w"] for n in (1, 2, 3)) == pytest.approx(values["power_w"])
        assert values["apparent_power_va"] ** 2 == pytest.approx(
            values["power_w"] ** 2 + values["reactive_power_var"] ** 2
        )
        assert values["power_factor"] * values["apparent_power_va"] == pytest.approx(values["power_w"])
        assert all(220 < values[f"voltage_l{n}_v"] < 235 for n in (1, 2, 3))
        assert 49.9 < values["frequency_hz"] < 50.1


def test_reactive_registers_are_the_integral_of_reactive_power() -> None:
    meter = Meter(seed=7, name="house", peak_w=6000, pv_peak_w=4000)
    start = meter.at(MIDNIGHT_US).registers_nj
    sums = {"reactive_energy_import_varh": 0.0, "reactive_energy_export_varh": 0.0}
    for second in range(DAY_S):
        power_var = meter.at(MIDNIGHT_US + second * SECOND_US).values["reactive_power_var"]
        sums["reactive_energy_import_varh" if power_var > 0 else "reactive_energy_export_varh"] += abs(power_var)
    end = meter.at(MIDNIGHT_US + DAY_S * SECOND_US).registers_nj
    for name, expected_vars in sums.items():
        # Power is floored to whole mvar, up to 1 mvar low in each of 86,400 seconds.
        assert (end[name] - start[name]) / 1e9 == pytest.approx(expected_vars, abs=DAY_S * 1e-3)
