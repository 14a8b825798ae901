"""Each kind of fault that the comparison must tell from a sound store."""

from local.proof.compare import Findings, LossSpan, compare
from local.proof.stored import Row, as_stored
from local.proof.truth import Served

S = 10**6


def _polls(count: int = 10) -> list[Served]:
    return [Served(n * S, {"power_w": 100.1 + n, "energy_import_wh": 1000 + n}) for n in range(1, count + 1)]


def _messages(count: int = 10) -> list[Served]:
    return [Served(n * S + 40_000, {"power_w": 100 + n // 4}, device_time_us=n * S) for n in range(1, count + 1)]


def _row(reading: Served, *, late_us: int = 300, **changed: float) -> Row:
    values = {name: as_stored(name, value) for name, value in (reading.values | changed).items()}
    if reading.device_time_us is None:
        return Row(reading.t_us + late_us, False, values)
    return Row(reading.device_time_us, True, values)


def _faults(findings: Findings) -> dict[str, int]:
    names = ("lost", "duplicated", "altered", "foreign", "in_loss_window", "undelivered", "partial")
    return {name: getattr(findings, name) for name in names if getattr(findings, name)}


def test_everything_in_its_place_is_no_fault() -> None:
    for served in (_polls(), _messages()):
        findings = compare(served, [_row(reading) for reading in served])
        assert (findings.polled, findings.stored, _faults(findings)) == (10, 10, {})


def test_a_missing_row_is_lost_and_said_when() -> None:
    for served in (_polls(), _messages()):
        findings = compare(served, [_row(reading) for reading in served if reading is not served[4]])
        assert (findings.polled, findings.stored, _faults(findings)) == (10, 9, {"lost": 1})
        assert findings.examples == [{"what": "lost", "served_us": served[4].t_us, "time_us": 5 * S}]


def test_a_second_row_of_a_poll_is_a_duplicate_whichever_comes_first() -> None:
    """E23."""
    polls = _polls()
    rows = [_row(poll) for poll in polls]
    for extra in (_row(polls[4], late_us=400), _row(polls[4], late_us=100, power_w=1.0)):
        findings = compare(polls, sorted([*rows, extra], key=lambda row: row.time_us))
        assert _faults(findings) == {"duplicated": 1}


def test_a_message_stored_twice_under_two_times_is_a_duplicate() -> None:
    """E23: the redelivery of a message, stamped on its arrival."""
    messages = [Served(reading.t_us, {"power_w": n}, reading.device_time_us) for n, reading in enumerate(_messages())]
    again = Row(messages[4].t_us + 3 * S, False, {"power_w": 4})
    findings = compare(messages, [*map(_row, messages), again])
    assert _faults(findings) == {"duplicated": 1}


def test_a_changed_value_is_altered_and_shown() -> None:
    for served, value in ((_polls(), 105.2), (_messages(), 102.0)):
        rows = [_row(reading, power_w=value) if n == 4 else _row(reading) for n, reading in enumerate(served)]
        findings = compare(served, rows)
        assert _faults(findings) == {"altered": 1}
        assert findings.examples[0]["served"] == {"power_w": as_stored("power_w", served[4].values["power_w"])}


def test_a_value_that_is_missing_from_one_row_or_that_nobody_served_is_altered() -> None:
    """E5, E6: a NULL where a value was served, and a value out of nowhere."""
    polls = _polls()
    rows = [_row(poll) for poll in polls]
    rows[3] = Row(rows[3].time_us, False, {"power_w": rows[3].values["power_w"]})
    rows[4] = _row(polls[4], frequency_hz=50.0)
    assert _faults(compare(polls, rows)) == {"altered": 2}


def test_a_quantity_that_no_row_has_is_told_apart_from_an_alteration() -> None:
    polls = _polls()
    findings = compare(
        polls, [Row(poll.t_us, False, {"energy_import_wh": poll.values["energy_import_wh"]}) for poll in polls]
    )
    assert (findings.unmapped, _faults(findings)) == (["power_w"], {})


def test_a_row_that_no_reading_explains_is_foreign() -> None:
    polls, messages = _polls(), _messages()
    early = Row(S // 2, False, {"power_w": 1.0})
    assert _faults(compare(polls, [early, *map(_row, polls)])) == {"foreign": 1}
    never = Row(3 * S + 1, True, {"power_w": 77.0})
    assert _faults(compare(messages, [never, *map(_row, messages)])) == {"foreign": 1}


def test_only_polls_within_the_loss_window_are_excused_and_messages_never_are() -> None:
    """E13, E18: a message is acknowledged after its commit, so a kill excuses none."""
    span = LossSpan.before_kill(killed_us=5 * S, dead_us=5 * S + 10_000, loss_window_s=1.0)
    polls, messages = _polls(), _messages()
    gone = {3 * S, 4 * S, 5 * S}
    findings = compare(polls, [_row(poll) for poll in polls if poll.t_us not in gone], spans=[span])
    assert _faults(findings) == {"lost": 1, "in_loss_window": 2}
    findings = compare(messages, [_row(m) for m in messages if m.device_time_us not in gone], spans=[span])
    assert _faults(findings) == {"lost": 3}


def test_readings_after_the_cut_off_are_neither_asked_for_nor_foreign() -> None:
    polls = _polls()
    findings = compare(polls, [_row(poll) for poll in polls[:8]], cutoff_us=7 * S)
    assert (findings.polled, findings.stored, _faults(findings)) == (7, 7, {})


def test_a_poll_cut_short_is_no_reading_but_its_row_is_compared() -> None:
    polls = _polls()
    polls[4].complete = polls[7].complete = False
    rows = [_row(poll) for poll in polls if poll is not polls[7]]
    findings = compare(polls, rows)
    assert (findings.polled, findings.stored, _faults(findings)) == (8, 8, {"partial": 1})


def test_messages_stamped_on_arrival_are_matched_by_their_values_in_order() -> None:
    """E15: a gateway that does not believe the device's clock still stores every message once."""
    messages = _messages()
    rows = [Row(12 * S + n, False, dict(message.values)) for n, message in enumerate(messages)]
    assert _faults(compare(messages, rows)) == {}
    assert _faults(compare(messages, rows[:-1])) == {"lost": 1}


def test_a_message_that_never_left_the_simulator_is_not_lost() -> None:
    messages = _messages()
    messages[9].acknowledged = False
    findings = compare(messages, [_row(message) for message in messages[:9]])
    assert (findings.polled, _faults(findings)) == (10, {"undelivered": 1})
    assert _faults(compare(messages, [_row(message) for message in messages])) == {}


def test_a_clock_read_a_moment_before_the_meters_does_not_lose_a_row() -> None:
    polls = _polls()
    assert _faults(compare(polls, [_row(poll, late_us=-2_000) for poll in polls])) == {}
