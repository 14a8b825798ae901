"""What the simulator's journal says was served."""

import json
from pathlib import Path

import pytest

from local.proof.compare import compare
from local.proof.errors import ProofError
from local.proof.stored import Row, as_stored
from local.proof.truth import read


def _journal(tmp_path: Path, *lines: dict[str, object], tail: str = "") -> Path:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path


def _modbus(t_us: int, **values: float) -> dict[str, object]:
    return {"t_us": t_us, "meter": "m", "kind": "modbus", "values": values}


def _mqtt(t_us: int, seq: int, **values: float) -> dict[str, object]:
    return {"t_us": t_us, "meter": "m", "kind": "mqtt", "seq": seq, "device_time_us": t_us - 5, "values": values}


def test_responses_are_merged_into_polls_stamped_with_the_last_one(tmp_path: Path) -> None:
    path = _journal(
        tmp_path,
        _modbus(1, voltage_l1_v=230.0),
        _modbus(2, power_w=1.0, energy_import_wh=7.4),
        _modbus(11, voltage_l1_v=231.0),
        _modbus(12, power_w=2.0, energy_import_wh=8.6),
    )
    polls = read(path)["m"]
    assert [(poll.t_us, poll.complete) for poll in polls] == [(2, True), (12, True)]
    assert polls[1].values == {"voltage_l1_v": 231.0, "power_w": 2.0, "energy_import_wh": 9}


def test_a_poll_cut_short_is_incomplete_and_does_not_shift_the_next(tmp_path: Path) -> None:
    """E5: one missing response must not put the following ones into the wrong poll."""
    path = _journal(
        tmp_path,
        _modbus(1, voltage_l1_v=230.0),
        _modbus(11, voltage_l1_v=231.0),
        _modbus(12, power_w=2.0),
        _modbus(13, power_w=3.0),
        _modbus(21, voltage_l1_v=232.0),
        _modbus(22, power_w=4.0),
    )
    polls = read(path)["m"]
    assert [(poll.t_us, poll.complete) for poll in polls] == [(1, False), (13, True), (22, True)]
    assert polls[1].values["power_w"] == 3.0


def test_a_poll_without_its_first_response_is_a_poll_of_its_own(tmp_path: Path) -> None:
    """E5: a fault that hits the first block takes neither the poll before nor the one after along."""
    path = _journal(
        tmp_path,
        _modbus(1_000, voltage_l1_v=230.0),
        _modbus(1_020, power_w=1.0),
        _modbus(2_300, power_w=2.0),
        _modbus(3_000, voltage_l1_v=232.0),
        _modbus(3_020, power_w=3.0),
        _modbus(4_000, voltage_l1_v=233.0),
        _modbus(5_300, power_w=5.0),
    )
    polls = read(path)["m"]
    assert [(poll.t_us, poll.complete) for poll in polls] == [
        *((1_020, True), (2_300, False), (3_020, True)),
        *((4_000, False), (5_300, False)),
    ]
    assert [poll.values.get("power_w") for poll in polls] == [1.0, 2.0, 3.0, None, 5.0]


def test_a_fault_that_hits_the_first_response_makes_no_row_wrong(tmp_path: Path) -> None:
    lines = []
    for second in range(1, 9):
        if second not in (1, 4, 5):
            lines.append(_modbus(second * 1_000_000, voltage_l1_v=230.0 + second))
        late_us = 300_000 if second in (1, 4, 5) else 20_000
        lines.append(_modbus(second * 1_000_000 + late_us, power_w=float(second), energy_import_wh=float(second)))
    polls = read(_journal(tmp_path, *lines))["m"]
    rows = [Row(poll.t_us + 300, False, {n: as_stored(n, v) for n, v in poll.values.items()}) for poll in polls]
    findings = compare(polls, rows)
    assert [row.values["energy_import_wh"] for row in rows] == list(range(1, 9))
    assert (findings.polled, findings.stored, findings.partial) == (5, 5, 3)
    assert (findings.lost, findings.duplicated, findings.altered, findings.foreign) == (0, 0, 0, 0)


def test_a_meter_that_served_once_has_one_poll(tmp_path: Path) -> None:
    path = _journal(tmp_path, _modbus(1, voltage_l1_v=230.0), _modbus(9_000_000, power_w=1.0))
    assert [poll.t_us for poll in read(path)["m"]] == [9_000_000]


def test_a_torn_last_line_was_never_served_and_garbage_in_between_is_an_error(tmp_path: Path) -> None:
    """E21: a kill in the middle of a write must not make the journal unreadable."""
    path = _journal(tmp_path, _modbus(1, power_w=1.0), tail='{"t_us": 2, "met')
    assert len(read(path)["m"]) == 1
    path.write_text('{"t_us": 2, "met\n' + path.read_text())
    with pytest.raises(ProofError, match=r"journal.jsonl:1: .*name the simulator's journal"):
        read(path)


def test_a_withdrawn_message_is_the_newest_of_its_number(tmp_path: Path) -> None:
    withdrawn = {"t_us": 30, "meter": "m", "kind": "unacknowledged", "seq": 1}
    path = _journal(
        tmp_path, _mqtt(10, 1, power_w=1.0), _mqtt(20, 1, power_w=2.0), withdrawn, _mqtt(40, 1, power_w=3.0)
    )
    assert [message.acknowledged for message in read(path)["m"]] == [True, False, True]


def test_a_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="No such file"):
        read(tmp_path / "absent")
