"""Faults of grid and installation: all that a meter tells fits together, and its registers follow its power."""

import itertools
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from firmware_sim.dialects import MQTT_DIALECTS, quantities
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.fit import lacking
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.fleet import ModbusMeterSpec, MqttMeterSpec
from firmware_sim.load import NJ_PER_WH, SteadyLoad
from firmware_sim.meter import REGISTERS, Meter, Snapshot
from firmware_sim.models import MODBUS_MODELS, SINGLE_PHASE
from firmware_sim.mqtt.publisher import Publisher, Schedule

S = 10**6
# 2026-03-01T11:50:00Z: with photovoltaics the curve is below zero, without it is above.
START_US = 1_772_365_800 * S
PHASES = (1, 2, 3)
HELD = {
    "sag": {"kind": "voltage"},
    "swell": {"kind": "voltage", "percent": 115},
    "sag of a phase": {"kind": "voltage", "phase": 1, "percent": 62.5},
    "no voltage": {"kind": "voltage", "percent": 0},
    "phase loss": {"kind": "phase-loss", "phase": 1},
    "frequency": {"kind": "frequency", "hz": 51.3},
    "overload by factor": {"kind": "overload", "factor": 2.7},
    "overload in watts": {"kind": "overload", "w": 23_000},
    "no load": {"kind": "no-load"},
    "power factor": {"kind": "power-factor", "value": 0.6},
    "reverse": {"kind": "reverse", "w": 2_000},
}


class _Clock:
    now_us = START_US

    def __call__(self) -> int:
        return self.now_us


def _meters(
    *specs: dict[str, object], clock: _Clock | None = None, start_us: int = START_US, **of: int
) -> tuple[Meter, Meter, Faults]:
    """A meter under the faults, the same one without any, and the faults."""
    faulty, sound = (Meter(seed=7, name="m", peak_w=6000, **of) for _ in range(2))
    faults = Faults(seed=7, name="m", clock=clock or _Clock())
    faults.befall(faulty)
    for spec in specs:
        faults.add(FaultSpec.model_validate(spec), start_us=start_us)
    return faulty, sound, faults


def _seconds(count: int, *, from_us: int = START_US) -> Iterator[int]:
    return (from_us + n * S for n in range(count))


def _grown_wh(meter: Meter, name: str, from_us: int, to_us: int) -> float:
    return (meter.at(to_us).registers_nj[name] - meter.at(from_us).registers_nj[name]) / NJ_PER_WH


def _consistent(told: Snapshot, phases: int) -> None:
    of = told.values
    volts, amperes, watts = (
        [of[f"{kind}_l{n}_{unit}"] for n in PHASES[:phases]]
        for kind, unit in (("voltage", "v"), ("current", "a"), ("power", "w"))
    )
    assert sum(watts) == pytest.approx(of["power_w"])
    assert of["apparent_power_va"] ** 2 == pytest.approx(of["power_w"] ** 2 + of["reactive_power_var"] ** 2)
    assert sum(v * a for v, a in zip(volts, amperes, strict=True)) == pytest.approx(of["apparent_power_va"])
    assert of["power_factor"] * of["apparent_power_va"] == pytest.approx(of["power_w"])
    for v, a, w in zip(volts, amperes, watts, strict=True):
        assert v * a * of["power_factor"] == pytest.approx(w)
        assert a >= 0


@pytest.mark.parametrize("pv_peak_w", [0, 4000])
@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize("spec", [*HELD.values(), {"kind": "backwards"}], ids=[*HELD, "backwards"])
def test_all_quantities_fit_together_while_a_fault_lasts(spec: dict[str, object], phases: int, pv_peak_w: int) -> None:
    meter, _, _ = _meters(spec, phases=phases, pv_peak_w=pv_peak_w)
    for t_us in _seconds(300):
        _consistent(meter.at(t_us), phases)


@pytest.mark.parametrize("pv_peak_w", [0, 4000])
@pytest.mark.parametrize("spec", HELD.values(), ids=HELD)
def test_registers_are_the_integral_of_power_before_during_and_after_a_fault(
    spec: dict[str, object], pv_peak_w: int
) -> None:
    """E7: through both edges of the fault, which are within a second."""
    meter, sound, _ = _meters({**spec, "start_s": 60.25, "for_s": 300.5}, pv_peak_w=pv_peak_w)
    edges = sorted({*_seconds(421), START_US + 60_250_000, START_US + 360_750_000})
    # In uWs and uvars, W to the microwatt.
    sums = dict.fromkeys(REGISTERS, 0.0)
    for from_us, to_us in itertools.pairwise(edges):
        of = meter.at(from_us).values
        for names, power in ((REGISTERS[:2], of["power_w"]), (REGISTERS[2:], of["reactive_power_var"])):
            sums[names[0]] += max(power, 0) * (to_us - from_us)
            sums[names[1]] += max(-power, 0) * (to_us - from_us)
    for name, microjoules in sums.items():
        # Reactive power is floored to whole mvar: up to 1 mvar in each of 420 seconds, and times 7.3 (2.7 squared).
        rounding_wh = 0.001 if "reactive" in name else 1e-6
        grown_wh = _grown_wh(meter, name, edges[0], edges[-1])
        assert grown_wh == pytest.approx(microjoules / 3_600 / S, abs=rounding_wh), name
    after, undisturbed = (of.at(edges[-1]) for of in (meter, sound))
    assert after.values == undisturbed.values
    expected = spec["kind"] != "frequency"
    assert (after.registers_nj != undisturbed.registers_nj) == expected, "what the fault made of them stays"


def test_a_sag_takes_current_along_and_power_as_the_square() -> None:
    meter, sound, _ = _meters({"kind": "voltage", "phase": 2, "percent": 80})
    told, true = meter.at(START_US).values, sound.at(START_US).values
    assert told["voltage_l2_v"] == pytest.approx(0.8 * true["voltage_l2_v"], abs=0.001)
    assert told["current_l2_a"] == pytest.approx(0.8 * true["current_l2_a"], rel=1e-5)
    assert told["power_l2_w"] == pytest.approx(0.64 * true["power_l2_w"])
    for name in ("voltage_l1_v", "voltage_l3_v", "power_l1_w", "current_l3_a", "frequency_hz"):
        assert told[name] == true[name]
    swollen, _, _ = _meters({"kind": "voltage", "percent": 115})
    assert all(swollen.at(START_US).values[f"voltage_l{n}_v"] > 1.14 * 228 for n in PHASES)


def test_a_lost_phase_feeds_nothing_and_the_others_go_on() -> None:
    meter, sound, _ = _meters({"kind": "phase-loss", "phase": 3})
    told, true = meter.at(START_US).values, sound.at(START_US).values
    assert told["voltage_l3_v"] == pytest.approx(0.03 * true["voltage_l3_v"], abs=0.001)
    assert (told["current_l3_a"], told["power_l3_w"]) == (0, 0)
    assert told["voltage_l1_v"] == true["voltage_l1_v"]
    assert told["power_w"] == pytest.approx(true["power_l1_w"] + true["power_l2_w"])


def test_the_grid_is_at_another_frequency_and_still_moves() -> None:
    meter, _, _ = _meters({"kind": "frequency", "hz": 47.2})
    told = [meter.at(t_us).values["frequency_hz"] for t_us in _seconds(50)]
    assert 47.17 < min(told) < max(told) < 47.23


def test_an_overload_is_so_many_times_the_load_or_so_many_watts() -> None:
    twice, sound, _ = _meters({"kind": "overload"})
    fixed, _, _ = _meters({"kind": "overload", "w": 30_000})
    true = sound.at(START_US).values
    assert twice.at(START_US).values["power_w"] == pytest.approx(2 * true["power_w"])
    told = [fixed.at(t_us).values for t_us in _seconds(60)]
    watts = [of["power_w"] for of in told]
    assert 29_850 <= min(watts) < max(watts) <= 30_150
    assert sum(watts) / 60 == pytest.approx(30_000)
    assert min(of["voltage_l1_v"] for of in told) > 224, "the voltage of a real connection drops, but not for ever"


def test_a_power_factor_is_lagging_and_leaves_active_power_alone() -> None:
    meter, sound, _ = _meters({"kind": "power-factor", "value": 0.72})
    told, true = meter.at(START_US).values, sound.at(START_US).values
    assert told["power_factor"] == pytest.approx(0.72, abs=1e-5)
    assert told["reactive_power_var"] > 0
    assert told["power_w"] == true["power_w"]


def test_power_that_flows_out_moves_the_export_register_and_no_other() -> None:
    meter, _, _ = _meters({"kind": "reverse", "w": 1500})
    assert all(-1507.5 <= meter.at(t_us).values["power_w"] <= -1492.5 for t_us in _seconds(60))
    hour_us = START_US + 3600 * S
    assert _grown_wh(meter, "energy_export_wh", START_US, hour_us) == pytest.approx(1500)
    assert _grown_wh(meter, "energy_import_wh", START_US, hour_us) == 0


def test_without_load_there_is_voltage_and_no_register_moves() -> None:
    meter, sound, _ = _meters({"kind": "no-load"})
    told = meter.at(START_US + S)
    assert (told.values["power_w"], told.values["current_l1_a"], told.values["apparent_power_va"]) == (0, 0, 0)
    assert told.values["voltage_l1_v"] > 225
    assert told.registers_nj == sound.at(START_US).registers_nj


def test_registers_that_run_backwards_do_it_once_and_go_on_from_there() -> None:
    """E7: what was turned back stays so, even when all faults are ended."""
    clock = _Clock()
    meter, sound, faults = _meters({"kind": "backwards", "wh": 700, "start_s": 10}, clock=clock)

    def missing_wh(second: int) -> float:
        at_us = START_US + second * S
        return _grown_wh(sound, "energy_import_wh", 0, at_us) - _grown_wh(meter, "energy_import_wh", 0, at_us)

    assert [missing_wh(second) for second in (0, 9, 10, 11, 3600)] == [0, 0, 700, 700, 700]
    assert meter.at(START_US + 10 * S).values == sound.at(START_US + 10 * S).values
    clock.now_us = START_US + 4000 * S
    faults.clear()
    assert missing_wh(5000) == 700


def test_registers_fall_as_often_as_they_are_told_to_one_alone_and_never_below_zero() -> None:
    every, sound, _ = _meters({"kind": "backwards", "wh": 5, "every_s": 60, "quantity": "energy_import_wh"})
    emptied, _, _ = _meters({"kind": "backwards", "wh": 10**12})
    at_us = START_US + 150 * S
    told, true = every.at(at_us).registers_nj, sound.at(at_us).registers_nj
    assert told["energy_import_wh"] == true["energy_import_wh"] - 15 * NJ_PER_WH
    assert told["reactive_energy_import_varh"] == true["reactive_energy_import_varh"]
    assert emptied.at(START_US).registers_nj == dict.fromkeys(REGISTERS, 0)
    assert emptied.at(at_us).registers_nj["energy_import_wh"] > 0


def test_a_register_that_is_stuck_stays_while_power_goes_on() -> None:
    meter, sound, faults = _meters({"kind": "stuck", "quantity": "energy_import_wh"}, {"kind": "overload", "w": 9000})
    later_us = START_US + 600 * S
    faults.begin(later_us)
    told = meter.at(later_us)
    assert told.registers_nj["energy_import_wh"] == sound.at(START_US).registers_nj["energy_import_wh"]
    assert (
        told.registers_nj["reactive_energy_import_varh"]
        != sound.at(START_US).registers_nj["reactive_energy_import_varh"]
    )
    assert told.values["power_w"] > 8_900


def test_a_power_that_is_stuck_stays_while_the_register_goes_on() -> None:
    meter, sound, faults = _meters({"kind": "stuck", "quantity": "power_w"})
    told = []
    for t_us in _seconds(20):
        faults.begin(t_us)
        told.append(meter.at(t_us))
    assert len({of.values["power_w"] for of in told}) == 1
    assert len({of.values["voltage_l1_v"] for of in told}) > 15
    assert [of.registers_nj for of in told] == [sound.at(t_us).registers_nj for t_us in _seconds(20)]


def test_faults_of_the_grid_come_and_go_and_come_again_as_scheduled() -> None:
    meter, _, _ = _meters({"kind": "no-load", "start_s": 2, "for_s": 3, "every_s": 10})
    told = [meter.at(t_us).values["power_w"] == 0 for t_us in _seconds(20)]
    assert [second for second, without in enumerate(told) if without] == [2, 3, 4, 12, 13, 14]


def test_faults_at_the_same_time_all_count() -> None:
    meter, sound, _ = _meters(
        {"kind": "overload", "w": 10_000},
        {"kind": "phase-loss", "phase": 1},
        {"kind": "voltage", "percent": 90},
        {"kind": "power-factor", "value": 0.5},
        {"kind": "frequency", "hz": 49},
    )
    told, true = meter.at(START_US), sound.at(START_US).values
    _consistent(told, 3)
    lost = true["power_l1_w"] / true["power_w"]
    assert told.values["power_w"] == pytest.approx(10_000 * (1 - lost) * 0.81, rel=0.006)
    assert told.values["voltage_l1_v"] == pytest.approx(0.027 * 230, rel=0.03)
    assert told.values["power_factor"] == pytest.approx(0.5, abs=1e-5)
    of_two, _, _ = _meters({"kind": "no-load"}, {"kind": "reverse", "w": 500})
    assert of_two.at(START_US).values["power_w"] == pytest.approx(-500, rel=0.006), "the later one"


def test_what_is_asked_of_another_time_is_told_as_it_was() -> None:
    """A dialect asks for yesterday's registers too, and for the last minutes'."""
    meter, sound, _ = _meters({"kind": "overload", "start_s": 60, "for_s": 60})
    times = [START_US + n * 7 * S for n in range(40)]
    forward = [meter.at(t_us) for t_us in times]
    other, _, _ = _meters({"kind": "overload", "start_s": 60, "for_s": 60})
    assert [other.at(t_us) for t_us in reversed(times)][::-1] == forward
    assert meter.at(START_US - 86_400 * S) == sound.at(START_US - 86_400 * S)


def test_ending_a_fault_ends_it_now_and_keeps_what_it_made_of_the_registers() -> None:
    clock = _Clock()
    meter, sound, faults = _meters({"kind": "overload", "w": 9000}, {"kind": "no-load", "start_s": 900}, clock=clock)
    ended_us = clock.now_us = START_US + 600 * S
    before = meter.at(ended_us - S)
    faults.clear()
    faults.clear()
    assert meter.at(ended_us - S) == before
    assert meter.at(ended_us + 1200 * S).values == sound.at(ended_us + 1200 * S).values
    assert _grown_wh(meter, "energy_import_wh", START_US, ended_us) == pytest.approx(1500)
    grown = [_grown_wh(of, "energy_import_wh", ended_us, ended_us + 3600 * S) for of in (meter, sound)]
    assert grown[0] == grown[1] > 0
    faults.add(FaultSpec(kind="overload", w=3600), start_us=ended_us + 3600 * S)
    last_us = ended_us + 7200 * S
    assert _grown_wh(meter, "energy_import_wh", last_us - 3600 * S, last_us) == pytest.approx(3600)


def test_a_steady_load_counts_what_it_draws_within_any_second() -> None:
    load = SteadyLoad(7, 4_000_000)
    for t_us in (START_US, START_US + S):
        first, amid, last = (load.at(t_us + into_us) for into_us in (0, 123_456, S))
        assert amid.import_nj - first.import_nj == first.power_mw * 123_456
        assert last.import_nj - first.import_nj == first.power_mw * S
        assert first.power_mw != 4_000_000


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "voltage", "phase": 4}, "less than or equal to 3"),
        ({"kind": "voltage", "times": 3}, "voltage acts on the grid and not on requests: leave times and share out"),
        (
            {"kind": "overload", "factor": 3, "w": 9000},
            "so many times the load or so many watts: give either factor or w",
        ),
        ({"kind": "backwards", "for_s": 3}, "backwards happens in an instant and stays: leave for_s out"),
        ({"kind": "backwards", "quantity": "power_w"}, "power_w is no energy register: use one of energy_import_wh"),
        ({"kind": "power-factor", "value": 1.2}, "less than or equal to 1"),
    ],
)
def test_a_fault_of_the_grid_that_makes_no_sense_is_refused(told: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as failed:
        FaultSpec.model_validate(told)
    assert message in str(failed.value)


@pytest.mark.parametrize(
    ("spec", "model", "message"),
    [
        (
            {"kind": "frequency"},
            "zigbee2mqtt",
            "zigbee2mqtt has no frequency_hz, so no frequency: use a model that has",
        ),
        ({"kind": "voltage", "phase": 2}, "tasmota", "tasmota has no voltage_l2_v, so no voltage"),
        ({"kind": "voltage"}, "tasmota-sml", "has no voltage_l1_v or voltage_l2_v or voltage_l3_v"),
        ({"kind": "reverse"}, "shelly-gen1-plug", "has no energy_export_wh, so no reverse"),
        ({"kind": "power-factor"}, "dsmr", "has no power_factor or reactive_power_var or apparent_power_va"),
        ({"kind": "stuck", "quantity": "power_l1_w"}, "tasmota", "has no power_l1_w, so no stuck"),
    ],
)
def test_a_fault_that_a_model_would_not_show_is_refused_with_the_quantity(
    spec: dict[str, object], model: str, message: str
) -> None:
    fault = FaultSpec.model_validate(spec)
    assert message in MqttMeterSpec(name="m", model=model).refusal(fault, "mqtt")


def test_a_connection_of_one_phase_has_no_other_to_lose() -> None:
    fault = FaultSpec(kind="phase-loss", phase=2)
    three, one = (ModbusMeterSpec(name="m", model="eastron-sdm630", unit=1, phases=phases) for phases in (3, 1))
    assert three.refusal(fault, "tcp") == ""
    assert one.refusal(fault, "tcp").startswith("eastron-sdm630 has no voltage_l2_v or current_l2_a or power_l2_w")


SHOWN = {
    "sag": lambda told, true: _parts(told, true, "voltage_l") == pytest.approx(0.8, rel=0.01),
    "phase loss": lambda told, true: told.get("current_l1_a", 0) == 0 and told.get("power_l1_w", 0) == 0,
    "frequency": lambda told, true: told["frequency_hz"] == pytest.approx(51.3, abs=0.4),
    "overload in watts": lambda told, true: told["power_w"] == pytest.approx(23_000, rel=0.01),
    "no load": lambda told, true: told["power_w"] == 0,
    "reverse": lambda told, true: told["power_w"] == pytest.approx(-2_000, rel=0.01),
}


def _parts(told: dict[str, float], true: dict[str, float], start: str) -> float:
    names = [name for name in told if name.startswith(start)]
    return sum(told[name] for name in names) / sum(true[name] for name in names)


def _told(model: str, specs: list[dict[str, object]]) -> dict[str, float]:
    """All that a meter of `model` serves or publishes at one instant."""
    phases = MQTT_DIALECTS[model].phases if model in MQTT_DIALECTS else 1 if model in SINGLE_PHASE else 3
    meter, _, faults = _meters(*specs, phases=phases)
    told: dict[str, float] = {}
    if model in MODBUS_MODELS:
        table, snapshot = MODBUS_MODELS[model], meter.at(START_US)
        for part in table.by_function.values():
            for name in table.quantities if part.functions[0] > 2 else ():
                where = part.addresses(name)
                told |= part.read(where.start, len(where), snapshot)[1] if where else {}
        return told
    dialect = MQTT_DIALECTS[model]()
    publisher = Publisher(meter=meter, dialect=dialect, schedules=[Schedule(dialect.messages, S)], faults=faults)
    for compose in (dialect.messages, dialect.energy_messages):
        for message in publisher.messages(compose, START_US):
            told |= message.values
            for values in message.channels.values():
                told |= {name: told.get(name, 0) + of if name == "power_w" else of for name, of in values.items()}
    return told


def _shown() -> Iterator[tuple[str, str]]:
    for model, shown in itertools.product([*MODBUS_MODELS, *MQTT_DIALECTS], SHOWN):
        has = quantities(model) if model in MQTT_DIALECTS else MODBUS_MODELS[model].quantities
        if not lacking(FaultSpec.model_validate(HELD[shown]), model=model, quantities=has):
            yield model, shown


@pytest.mark.parametrize(("model", "shown"), list(_shown()))
def test_every_model_that_has_the_quantity_shows_the_fault(model: str, shown: str) -> None:
    assert SHOWN[shown](_told(model, [HELD[shown]]), _told(model, []))


def test_every_kind_of_the_grid_is_proven_here() -> None:
    proven = {spec["kind"] for spec in HELD.values()} | {"backwards"}
    assert proven == {name for name, kind in KINDS.items() if kind.scope == "grid"}
