from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from firmware_sim.dialects.tasmota import Tasmota
from firmware_sim.faults.fault import Fault
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.fit import refusal
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.meter import Meter
from firmware_sim.mqtt.publisher import Publisher

NJ_PER_WH = 3_600 * 10**9
# 2026-03-01T12:00:00Z
START_US = 1_772_366_400 * 10**6
S = 10**6


def _fault(**told: object) -> Fault:
    return Fault(FaultSpec.model_validate({"kind": "timeout"} | told), start_us=START_US, key=7)


def _lasting(fault: Fault, seconds: int) -> list[int]:
    return [s for s in range(seconds) if fault.since_us(START_US + s * S) is not None]


def _told(*specs: dict[str, object], at_us: int = START_US + S) -> tuple[Meter, Meter]:
    """A meter under the faults, as one request finds it, and the same one without any."""
    faulty, sound = (Meter(seed=7, name="m", peak_w=6000, pv_peak_w=3000) for _ in range(2))
    faults = Faults([FaultSpec.model_validate(spec) for spec in specs], seed=7, name="m", start_us=START_US)
    faults.befall(faulty)
    faults.begin(at_us)
    return faulty, sound


def test_a_fault_lasts_and_comes_again_as_scheduled() -> None:
    assert _lasting(_fault(), 4) == [0, 1, 2, 3]
    assert _lasting(_fault(start_s=2, for_s=3), 9) == [2, 3, 4]
    assert _lasting(_fault(start_s=1, every_s=4, for_s=2), 11) == [1, 2, 5, 6, 9, 10]
    at = datetime.fromtimestamp(START_US // S + 3, UTC)
    assert _lasting(_fault(at=at, for_s=1), 9) == [3]


def test_the_next_change_is_the_next_instant_at_which_something_is_different() -> None:
    fault = _fault(start_s=1, every_s=4, for_s=2)
    changes = [(fault.next_change_us(START_US + s * S) - START_US) // S for s in range(7)]
    assert changes == [1, 3, 3, 5, 5, 7, 7]
    once = _fault(start_s=1, for_s=2)
    assert (once.next_change_us(START_US + 3 * S), once.over(START_US + 3 * S)) == (None, True)
    assert _fault().next_change_us(START_US) is None
    assert not _fault().over(START_US)


def test_times_count_anew_whenever_the_fault_comes_again() -> None:
    fault = _fault(every_s=10, times=2)
    assert [fault.hits(START_US + s * S) for s in range(14)] == [s % 10 < 2 for s in range(14)]


def test_a_share_hits_the_same_requests_in_every_run() -> None:
    first, second = (
        [fault.hits(START_US + n) for n in range(2000)] for fault in (_fault(share=0.2), _fault(share=0.2))
    )
    assert first == second
    assert 300 < sum(first) < 500


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "time-out"}, "there is no 'time-out': use one of timeout, "),
        ({"kind": "timeout", "code": 3}, "timeout takes no code: it takes none of its own"),
        ({"kind": "close", "how": "softly"}, "knows no how = 'softly': use request or reply or mid-reply"),
        ({"kind": "timeout", "every_s": 5}, "every_s alone would be for ever: say for_s or times as well"),
        ({"kind": "timeout", "every_s": 5, "for_s": 5}, "for_s is not shorter than every_s"),
        ({"kind": "timeout", "at": "2026-03-01T12:00:00"}, "at is an instant with its zone"),
        ({"kind": "illegal-address"}, "needs to know where: give either address or quantity"),
        ({"kind": "refuse", "times": 3}, "acts on the endpoint and not on requests: leave times and share out"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_to_do(told: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as failed:
        FaultSpec.model_validate(told)
    assert message in str(failed.value)


@pytest.mark.parametrize(
    ("kind", "transport"),
    [("crc", "tcp"), ("wrong-transaction", "rtu"), ("refuse", "rtu"), ("clock", "tcp"), ("timeout", "mqtt")],
)
def test_a_fault_that_cannot_happen_there_is_refused(kind: str, transport: str) -> None:
    assert ": use " in refusal(FaultSpec(kind=kind), transport)


def test_every_kind_can_happen_somewhere() -> None:
    for kind in KINDS:
        spec = FaultSpec(kind=kind, **({"address": 1} if kind == "illegal-address" else {}))
        assert "" in {refusal(spec, transport) for transport in ("tcp", "rtu", "mqtt")}, kind


def test_a_stuck_value_is_the_one_of_when_it_began_and_the_others_go_on() -> None:
    faulty, sound = _told({"kind": "stuck", "quantity": "power_w"})
    told, began, now = faulty.at(START_US + S), sound.at(START_US), sound.at(START_US + S)
    assert told.values["power_w"] == began.values["power_w"] != now.values["power_w"]
    assert told.registers_nj == now.registers_nj
    assert told.values["voltage_l1_v"] == now.values["voltage_l1_v"]


def test_a_register_that_was_reset_counts_from_zero_and_one_that_rolls_over_loses_its_top() -> None:
    """E7."""
    reset, sound = _told({"kind": "reset"})
    rolled, _ = _told({"kind": "rollover", "wh": 1000})
    name = "energy_import_wh"
    true_nj = sound.at(START_US + S).registers_nj[name]
    assert reset.at(START_US + S).registers_nj[name] == true_nj - sound.at(START_US).registers_nj[name]
    assert rolled.at(START_US + S).registers_nj[name] == true_nj % (1000 * NJ_PER_WH)
    assert reset.at(START_US - S) == sound.at(START_US - S), "nothing was reset before it was"


def test_another_meter_has_another_number_and_goes_on_from_its_own_registers() -> None:
    exchanged, sound = _told({"kind": "exchange", "wh": 5000})
    before, after = (meter.at(START_US + S) for meter in (sound, exchanged))
    assert before.serial_number != after.serial_number
    assert exchanged.at(START_US).registers_nj["energy_import_wh"] == 5000 * NJ_PER_WH
    assert after.values == before.values


def test_faults_of_values_add_up() -> None:
    faulty, _ = _told({"kind": "nan", "quantity": "energy_import_wh"}, {"kind": "reset"}, {"kind": "stuck"})
    told = faulty.at(START_US + S)
    assert "energy_import_wh" not in told.registers_nj
    assert str(told.value("energy_import_wh")) == "nan"


def test_clearing_ends_all_faults_at_once() -> None:
    faults = Faults([FaultSpec(kind="timeout")], seed=7, name="m", start_us=START_US)
    assert len(faults.begin(START_US)) == 1
    faults.clear()
    assert not faults
    assert faults.begin(START_US) == []


def test_a_connection_without_a_birth_uses_up_no_fault() -> None:
    meter, faults, dialect = Meter(seed=7, name="plug", peak_w=6000, phases=1), Faults(seed=7, name="plug"), Tasmota()
    faults.add(FaultSpec(kind="zero", quantity="energy_import_wh"), start_us=START_US)
    publisher = Publisher(meter=meter, dialect=dialect, schedules=[], faults=faults)
    assert publisher.messages(dialect.on_connect, START_US + 10**6) == []
    totals = [publisher.messages(dialect.messages, START_US + n * 10**6)[0].values["energy_import_wh"] for n in (2, 3)]
    assert totals[0] == 0 < totals[1]
