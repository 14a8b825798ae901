"""The books of the torture: what is missing is lost unless there is a stated ground, and nothing hides behind one."""

import json
from pathlib import Path

import pytest

from local.proof.stored import Row
from tests.torture.comparison import Findings, compare
from tests.torture.history import Damage, History
from tests.torture.journal import Told, read

_S = 1_000_000
_Values = dict[str, int | float]


def _answer(at_s: float, **values: float) -> Told:
    return Told(round(at_s * _S), dict(values), message=False)


def _message(at_s: float, *, confirmed_s: float | None = None, withdrawn: bool = False, **values: float) -> Told:
    confirmed_us = None if confirmed_s is None else round(confirmed_s * _S)
    return Told(round(at_s * _S), dict(values), message=True, confirmed_us=confirmed_us, withdrawn=withdrawn)


def _row(at_s: float, **values: float) -> Row:
    return Row(round(at_s * _S), False, dict(values))


def _found(told: list[Told], rows: list[Row], history: History | None = None, given_up: int = 0) -> Findings:
    return compare({"m": told}, {"m": rows}, history=history or History(1.0), given_up=given_up)


def _fates(found: Findings) -> dict[str, int]:
    names = ("stored", "lost", "doubled", "altered", "in_loss_window", "unanswered", "undelivered", "forgotten")
    return {name: getattr(found, name) for name in (*names, "destroyed", "thinned") if getattr(found, name)}


def _poll(at_s: float, number: int) -> list[Told]:
    """A reading in two blocks."""
    return [_answer(at_s, power_w=100.5 + number, voltage_l1_v=230.25), _answer(at_s + 0.01, energy_import_wh=number)]


def _stored(at_s: float, number: int) -> Row:
    return _row(at_s, power_w=100.5 + number, voltage_l1_v=230.25, energy_import_wh=number)


def test_what_was_told_and_is_there_once_is_right_whatever_time_the_row_has() -> None:
    """E27: a clock that was stepped alters times, and no content."""
    told = _poll(10, 1) + _poll(11, 2)
    found = _found(told, [_stored(11, 2), _stored(99_999, 1)])
    assert _fates(found) == {"stored": 2}
    assert found.clean
    assert found.readings == 2


def _in_a_row(begin_s: float, *power_w: float) -> list[Told]:
    """Polls each second, energy first and the same in all, the power a tenth of a second later."""
    polls = [
        (_answer(begin_s + at, energy_import_wh=7), _answer(begin_s + at + 0.1, power_w=value))
        for at, value in enumerate(power_w)
    ]
    return [one for poll in polls for one in poll]


def test_a_meter_that_was_stopped_within_a_poll_costs_no_later_row_its_answer() -> None:
    """The answer before the stop is farther from the rest of its poll than that of the next poll is."""
    powers_w = [power_w + 0.5 for power_w in range(30)]
    told = [_answer(10, energy_import_wh=7), _answer(11.6, power_w=99.5), *_in_a_row(12, *powers_w)]
    rows = [_row(12.1 + at, power_w=power_w, energy_import_wh=7) for at, power_w in enumerate(powers_w)]
    assert _fates(_found(told, [_row(11.6, power_w=99.5, energy_import_wh=7), *rows])) == {"stored": 31}


def test_a_row_too_many_gets_no_answer_by_exchanging_equal_ones() -> None:
    """E23."""
    rows = [
        _row(at, power_w=value, energy_import_wh=7)
        for at, value in ((12.1, 2.5), (13.1, 3.5), (14.1, 4.5), (14.2, 4.5))
    ]
    assert _fates(_found(_in_a_row(12, 2.5, 3.5, 4.5), rows)) == {"stored": 3, "doubled": 1}
    told = [*_in_a_row(12, 2.5, 3.5, 4.5), _answer(17, energy_import_wh=7)]
    assert _fates(_found(told, rows)) == {"stored": 3, "doubled": 1, "lost": 1}


def test_a_reading_that_is_nowhere_is_lost() -> None:
    found = _found(_poll(10, 1) + _poll(11, 2), [_stored(10, 1)])
    assert _fates(found) == {"stored": 1, "lost": 1}
    assert not found.clean
    assert found.examples[0]["what"] == "lost"


def test_a_reading_that_is_there_twice_is_doubled_even_under_another_time() -> None:
    """E23."""
    assert _fates(_found(_poll(10, 1), [_stored(10, 1), _stored(14, 1)])) == {"stored": 1, "doubled": 1}


def test_equal_readings_are_counted_and_not_only_known() -> None:
    for rows, fates in ((2, {"stored": 2, "lost": 1}), (4, {"stored": 3, "doubled": 1})):
        told = _poll(10, 1) + _poll(11, 1) + _poll(12, 1)
        assert _fates(_found(told, [_stored(10 + number, 1) for number in range(rows)])) == fates


@pytest.mark.parametrize(
    "row",
    [
        _row(10, power_w=101.6, voltage_l1_v=230.25, energy_import_wh=1),
        _row(10, power_w=101.5, voltage_l1_v=230.25),
        _row(10, power_w=101.5, voltage_l1_v=230.25, energy_import_wh=1, frequency_hz=50.0),
        _row(10, energy_import_wh=7),
    ],
    ids=["another value", "half a response less", "a value more", "never told"],
)
def test_a_row_that_no_meter_told_is_altered(row: Row) -> None:
    """E5. A whole block that is missing is not altered: what it had is lost."""
    found = _found(_poll(10, 1), [row])
    if row.values.keys() == {"power_w", "voltage_l1_v"}:
        assert _fates(found) == {"stored": 1, "lost": 1}
    else:
        assert found.altered == 1
        assert found.lost == 1


def test_a_row_of_two_polls_that_lie_far_apart_is_no_reading() -> None:
    """E5: blocks of different polls in one row."""
    told = [*_poll(10, 1), *_poll(60, 2)]
    mixed = _row(10, power_w=101.5, voltage_l1_v=230.25, energy_import_wh=2)
    assert _found(told, [mixed]).doubled == 1


def test_polls_are_excused_within_the_loss_window_before_a_kill_and_not_before_it() -> None:
    """E18."""
    history = History(1.0)
    history.died("edge", 20 * _S, 20 * _S + 50_000)
    told = _poll(18.9, 1) + _poll(19.1, 2) + _poll(20.2, 3) + _poll(20.6, 4)
    assert _fates(_found(told, [], history)) == {"lost": 2, "in_loss_window": 2}


def _in_three(at_s: float, number: int) -> list[Told]:
    """A reading in three blocks."""
    return [*_poll(at_s, number), _answer(at_s + 0.02, frequency_hz=50.0 + number)]


def _stored_of_three(at_s: float, number: int) -> Row:
    return _row(at_s, **_stored(at_s, number).values, frequency_hz=50.0 + number)


@pytest.mark.parametrize(
    ("told_s", "killed_s", "fate"),
    [(9.8, 12.5, "in_loss_window"), (9.8, 14.1, "lost"), (9.2, 12.5, "lost"), (9.8, 19.8, "lost")],
)
def test_a_poll_that_a_stopped_meter_holds_up_is_no_reading_yet(told_s: float, killed_s: float, fate: str) -> None:
    """E18: what its first blocks brought is with the gateway until the time-out, and not to be committed before."""
    history = History(1.0)
    history.stopped("simulator", 10 * _S, 20 * _S)
    history.died("edge", round(killed_s * _S), round(killed_s * _S))
    told = [*_in_three(5, 1), *_in_three(told_s, 2)[:2]]
    assert _fates(_found(told, [_stored_of_three(5, 1)], history)) == {"stored": 1, fate: 1}


def test_a_stop_of_the_meters_holds_up_no_poll_that_has_all_its_answers() -> None:
    """E18: that was a reading, and its loss window went on."""
    history = History(1.0)
    history.stopped("simulator", 10 * _S, 20 * _S)
    history.died("edge", 12 * _S, 12 * _S)
    told = [*_in_three(5, 1), *_in_three(9.8, 2)]
    assert _fates(_found(told, [_stored_of_three(5, 1)], history)) == {"stored": 1, "lost": 1}


def test_a_stop_of_the_meters_holds_up_no_poll_that_is_stored() -> None:
    """E18: what the row of it lacks is lost."""
    history = History(1.0)
    history.stopped("simulator", 10 * _S, 20 * _S)
    history.died("edge", 12 * _S, 12 * _S)
    told = [*_in_three(5, 1), *_in_three(9.8, 2)[:2]]
    rows = [_stored_of_three(5, 1), _row(9.8, energy_import_wh=2)]
    assert _fates(_found(told, rows, history)) == {"stored": 2, "lost": 1}


def test_the_loss_window_of_a_reading_begins_with_the_last_answer_of_its_poll() -> None:
    """E18"""
    history = History(1.0)
    history.died("edge", 11 * _S, 11 * _S)
    for last_s, fate in ((10.1, "in_loss_window"), (9.9, "lost")):
        told = [_answer(9.8, power_w=1.5), _answer(last_s, energy_import_wh=1)]
        assert _fates(_found(told, [], history)) == {fate: 1}


def test_a_gateway_that_is_stopped_commits_nothing() -> None:
    """E18: its loss window is one of its own time."""
    history = History(1.0)
    history.stopped("edge", 10 * _S, 15 * _S)
    history.died("edge", round(15.5 * _S), round(15.5 * _S))
    told = _poll(9.4, 1) + _poll(9.6, 2)
    assert _fates(_found(told, [], history)) == {"lost": 1, "in_loss_window": 1}


@pytest.mark.parametrize(
    ("again_s", "fates"),
    [(20.557, {"stored": 1, "unanswered": 1}), (21.1, {"stored": 1, "lost": 1})],
    ids=["with the rest of its row", "in the next poll"],
)
def test_of_two_equal_answers_a_row_has_the_one_that_nobody_doubts(again_s: float, fates: dict[str, int]) -> None:
    """Meters that go on after a stop answer what they were asked meanwhile, and what they are asked again."""
    history = History(1.0)
    history.stopped("simulator", 10 * _S, 20 * _S)
    told = [_answer(20.1, power_w=1.5), _answer(20.254, energy_import_wh=1), _answer(again_s, power_w=1.5)]
    assert _fates(_found(told, [_row(20.586, power_w=1.5, energy_import_wh=1)], history)) == fates


@pytest.mark.parametrize(
    ("other_s", "fates"),
    [(20.3, {"stored": 1, "undelivered": 1}), (21.3, {"stored": 1, "lost": 1})],
    ids=["in one burst", "later"],
)
def test_of_two_equal_messages_a_row_has_the_one_that_was_confirmed(other_s: float, fates: dict[str, int]) -> None:
    """Meters that go on after a stop send what had to wait at once, each with the values of now."""
    told = [_message(20.2, confirmed_s=20.6, power_w=1.5), _message(other_s, withdrawn=True, power_w=1.5)]
    assert _fates(_found(told, [_row(30, power_w=1.5)])) == fates


def test_no_row_is_given_from_an_answer_that_nobody_doubts_to_another() -> None:
    told = [_answer(20.1, power_w=1.5), _answer(20.2, energy_import_wh=1), _answer(20.5, power_w=1.5)]
    assert _fates(_found(told, [_row(20.6, power_w=1.5, energy_import_wh=1)])) == {"stored": 1, "lost": 1}


def test_messages_are_never_excused_by_a_kill_of_the_gateway() -> None:
    """E13: they are acknowledged once they are safe."""
    history = History(1.0)
    history.died("edge", 20 * _S, 20 * _S)
    assert _fates(_found([_message(19.8, confirmed_s=19.9, power_w=1.5)], [], history)) == {"lost": 1}


def test_answers_count_as_unanswered_only_around_deaths_and_stops() -> None:
    history = History(1.0)
    history.died("simulator", 20 * _S, 20 * _S)
    history.stopped("edge", 30 * _S, 32 * _S)
    told = _poll(19.9, 1) + _poll(25, 2) + _poll(31, 3)
    assert _fates(_found(told, [], history)) == {"lost": 1, "unanswered": 2}


def test_a_message_that_no_broker_confirmed_is_undelivered_only_if_the_meters_died_with_it() -> None:
    history = History(1.0)
    told = [_message(10, power_w=1.5)]
    assert _fates(_found(told, [], history)) == {"lost": 1}
    history.died("simulator", 20 * _S, 20 * _S)
    assert _fates(_found(told, [], history)) == {"undelivered": 1}
    assert _fates(_found([_message(10, withdrawn=True, power_w=1.5)], [])) == {"undelivered": 1}


def test_a_broker_is_blamed_only_for_what_it_confirmed_just_before_its_kill() -> None:
    history = History(1.0)
    history.died("mosquitto", 20 * _S, 20 * _S)
    history.began("mosquitto", 21 * _S)
    told = [_message(19.8, confirmed_s=19.85, power_w=1.5), _message(18, confirmed_s=18.1, power_w=2.5)]
    assert _fates(_found(told, [], history)) == {"forgotten": 1, "lost": 1}


@pytest.mark.parametrize(
    ("told_s", "confirmed_s", "fate"), [(19.9, 20.4, "forgotten"), (20.2, 20.4, "lost"), (19.9, 21.1, "lost")]
)
def test_a_confirmation_noted_late_is_of_the_broker_that_was_killed_until_the_next_one_began(
    told_s: float, confirmed_s: float, fate: str
) -> None:
    history = History(1.0)
    history.died("mosquitto", 20 * _S, round(20.1 * _S))
    history.began("mosquitto", 21 * _S)
    assert _fates(_found([_message(told_s, confirmed_s=confirmed_s, power_w=1.5)], [], history)) == {fate: 1}


def test_what_a_fault_destroyed_is_excused_by_its_own_count_and_no_further() -> None:
    """E21: only what could have been in the file that was damaged."""
    history = History(1.0)
    history.damages.append(Damage(drained_us=15 * _S, at_us=25 * _S, destroyed=1))
    told = _poll(10, 1) + _poll(20, 2) + _poll(21, 3) + _poll(30, 4)
    assert _fates(_found(told, [], history)) == {"lost": 3, "destroyed": 1}
    assert _fates(_found(told, [], History(1.0))) == {"lost": 4}


def test_what_a_meter_owed_from_before_its_stop_is_no_part_of_the_poll_that_a_fault_destroyed() -> None:
    """E21: else one reading that is gone was two, and one of them lost."""
    history = History(1.0)
    history.stopped("simulator", 19 * _S, 20 * _S)
    history.damages.append(Damage(drained_us=20 * _S, at_us=25 * _S, destroyed=1))
    owed, *poll = _answer(20.1, energy_import_wh=1), *_poll(20.6, 2)
    assert _fates(_found([owed, *poll], [], history)) == {"unanswered": 1, "destroyed": 1}


def test_what_the_gateway_gave_up_for_want_of_room_is_excused_by_its_own_count() -> None:
    """E20"""
    told = _poll(10, 1) + _poll(20, 2)
    assert _fates(_found(told, [], given_up=1)) == {"lost": 1, "thinned": 1}


def test_an_empty_journal_proves_nothing() -> None:
    assert not compare({}, {}, history=History(1.0)).clean


def test_the_journal_says_what_was_confirmed_withdrawn_and_torn(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"t_us": 1, "meter": "a", "kind": "modbus", "values": {"power_w": 1.2345}},
        {"t_us": 2, "meter": "b", "kind": "mqtt", "seq": 1, "device_time_us": 0, "values": {"energy_import_wh": 7.4}},
        {"t_us": 3, "meter": "b", "kind": "acknowledged", "seq": 1},
        # The meters' process began anew, and its numbers with it.
        {"t_us": 4, "meter": "b", "kind": "mqtt", "seq": 1, "device_time_us": None, "values": {"energy_import_wh": 8}},
        {"t_us": 5, "meter": "b", "kind": "unacknowledged", "seq": 1},
    ]
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"t_us": 6, "me')

    told = read(path)

    assert [one.message for one in told["a"]] == [False]
    # At the contract's resolution of a tenth, and as a single of 32 bits.
    assert told["a"][0].values == {"power_w": 1.2000000476837158}
    assert [(one.values, one.confirmed_us, one.withdrawn) for one in told["b"]] == [
        ({"energy_import_wh": 7}, 3, False),
        ({"energy_import_wh": 8}, None, True),
    ]
