"""Edits: before all else, with who and why, revocable, and none of it is ever forgotten."""

import psycopg
import pytest

from tests.sql.conftest import Telemetry
from tests.sql.quarters import DAY, QUARTER, SUNDAY, effective, put, validate

NOW = SUNDAY + 3 * DAY
EDIT = "SELECT interval_edit(%s, ARRAY[%s::timestamptz], ARRAY[%s::bigint], ARRAY[%s::bigint], %s, %s, %s) AS n"
REVOKE = "SELECT interval_revoke(%s, %s, %s, %s, %s, %s) AS n"


def _edit(telemetry: Telemetry, meter_id: int, import_wh: int | None, export_wh: int | None = None) -> None:
    telemetry.rows(EDIT, meter_id, SUNDAY, import_wh, export_wh, "read by eye", "ada", NOW)


def _first(telemetry: Telemetry, meter_id: int) -> tuple[object, ...]:
    [row] = effective(telemetry, meter_id, SUNDAY, SUNDAY + QUARTER)
    return tuple(row[name] for name in ("energy_import_wh", "energy_export_wh", "quality", "version", "source"))


def test_an_edit_comes_before_a_reading_until_it_is_revoked(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [100], energy_export_wh=[3])
    seen = [_first(telemetry, meter_id)]
    _edit(telemetry, meter_id, 80)
    seen.append(_first(telemetry, meter_id))
    put(telemetry, meter_id, SUNDAY, [101], energy_export_wh=[4])
    seen.append(_first(telemetry, meter_id))
    telemetry.rows(REVOKE, meter_id, SUNDAY, SUNDAY + DAY, "a mistake", "bob", NOW)
    seen.append(_first(telemetry, meter_id))
    assert seen == [(100, 3, 14, 1, "actual"), (80, 3, 7, 2, "edit"), (80, 4, 7, 3, "edit"), (101, 4, 14, 4, "actual")]


def test_an_edit_of_an_edit_keeps_both(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [100])
    _edit(telemetry, meter_id, 80)
    _edit(telemetry, meter_id, 0)
    assert _first(telemetry, meter_id)[:4] == (0, None, 7, 4)
    kept = telemetry.rows("SELECT energy_import_wh, ended_by, ended_reason FROM interval_versions ORDER BY version_id")
    assert [tuple(row.values()) for row in kept] == [(80, "ada", "edited again: read by eye"), (0, None, None)]


REACTIVE = (
    "SELECT interval_edit(%s, ARRAY[%s::timestamptz], ARRAY[%s::bigint], NULL, 'from the log', 'bob', %s, %s,"
    " p_import_varh => ARRAY[%s::bigint], p_export_varh => ARRAY[%s::bigint]) AS n"
)


def _reactive(telemetry: Telemetry, meter_id: int) -> tuple[object, ...]:
    [row] = effective(telemetry, meter_id, SUNDAY, SUNDAY + QUARTER)
    names = ("energy_import_wh", "reactive_energy_import_varh", "reactive_energy_export_varh", "quality", "version")
    return tuple(row[name] for name in names)


def test_reactive_energy_is_edited_as_energy_is_and_takes_no_edit_of_energy_back(telemetry: Telemetry) -> None:
    """A bill that waits for what nobody can tell it would wait for ever."""
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [100])
    seen = [_reactive(telemetry, meter_id)]
    _edit(telemetry, meter_id, 80)
    for varh in ((60, None), (0, 7)):
        assert telemetry.rows(REACTIVE, meter_id, SUNDAY, None, NOW, False, *varh) == [{"n": 1}]
        seen.append(_reactive(telemetry, meter_id))
    telemetry.rows(REVOKE, meter_id, SUNDAY, SUNDAY + DAY, "a mistake", "ada", NOW)
    seen.append(_reactive(telemetry, meter_id))
    assert seen == [(100, None, None, 14, 1), (80, 60, None, 7, 4), (80, 0, 7, 7, 6), (100, None, None, 14, 7)]
    kept = telemetry.rows(
        "SELECT actor, reactive_energy_import_varh AS varh FROM interval_versions ORDER BY version_id"
    )
    assert [tuple(row.values()) for row in kept] == [("ada", None), ("bob", 60), ("bob", 0)]


@pytest.mark.parametrize(("beneath", "quality"), [("failed", 10), ("estimated", 8), ("nothing", 7)])
def test_an_edit_of_reactive_energy_alone_says_nothing_of_energy(
    telemetry: Telemetry, beneath: str, quality: int
) -> None:
    """Energy that failed its checks, or is an estimate, would be billed as what somebody had looked at."""
    meter_id = telemetry.meter()
    if beneath == "failed":
        put(telemetry, meter_id, SUNDAY, [100], quality=10)
    elif beneath == "estimated":
        put(telemetry, meter_id, SUNDAY - 7 * DAY, [1] * 96)
        ask = "SELECT interval_estimate(%s, %s, %s, 400, NULL, 'from the bill', 'ada', %s)"
        telemetry.rows(ask, meter_id, SUNDAY, SUNDAY + 4 * QUARTER, NOW)
    telemetry.rows(REACTIVE, meter_id, SUNDAY, None, NOW, False, 60, None)
    reactive = (None if beneath == "nothing" else 100, 60, None, quality)
    assert _reactive(telemetry, meter_id)[:4] == reactive
    assert _first(telemetry, meter_id)[4] == "edit"
    _edit(telemetry, meter_id, 80)
    assert _reactive(telemetry, meter_id)[:4] == (80, 60, None, 7)


def test_no_edit_of_reactive_energy_is_more_than_the_connection_carries_unless_somebody_says_so(
    telemetry: Telemetry,
) -> None:
    """20 kVA for a quarter-hour are 5000 varh."""
    meter_id = telemetry.meter(max_power_w=20_000)
    refused = _refused(telemetry, REACTIVE, meter_id, SUNDAY, 1, NOW, False, 5001, None)
    assert refused.sqlstate == "SG046"
    assert "5001 varh" in str(refused)
    assert _refused(telemetry, REACTIVE, meter_id, SUNDAY, 1, NOW, True, None, 10**13 + 1).sqlstate == "22003"
    telemetry.rows(REACTIVE, meter_id, SUNDAY, 1, NOW, True, 5001, None)
    kept = telemetry.rows("SELECT reason FROM interval_versions")
    assert kept == [{"reason": "from the log (beyond the 5000 Wh that the connection carries)"}]


def test_an_edit_can_stand_where_nothing_was_read(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    _edit(telemetry, meter_id, None, 12)
    assert _first(telemetry, meter_id) == (None, 12, 7, 1, "edit")
    telemetry.rows(REVOKE, meter_id, SUNDAY, SUNDAY + QUARTER, "a mistake", "ada", NOW)
    assert effective(telemetry, meter_id, SUNDAY, SUNDAY + QUARTER) == []


@pytest.mark.parametrize(
    ("reason", "actor", "import_wh", "constraint"),
    [
        (None, "ada", 1, "interval_versions_edit_has_actor_and_reason"),
        ("why", None, 1, "interval_versions_edit_has_actor_and_reason"),
        ("", "ada", 1, "interval_versions_reason_check"),
        ("why", "ada", -1, "interval_versions_energy_import_wh_check"),
        ("why", "ada", None, "interval_versions_says_something"),
    ],
)
def test_an_edit_without_who_why_or_what_is_refused(
    telemetry: Telemetry, reason: str | None, actor: str | None, import_wh: int | None, constraint: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        telemetry.rows(EDIT, telemetry.meter(), SUNDAY, import_wh, None, reason, actor, NOW)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM interval_versions",
        "UPDATE interval_versions SET energy_import_wh = 1",
        "TRUNCATE interval_versions",
    ],
)
@pytest.mark.parametrize("role", ["segs_api", "segs_worker"])
def test_no_service_changes_what_was_said(telemetry: Telemetry, role: str, statement: str) -> None:
    telemetry.do(f"SET ROLE {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        telemetry.do(statement)


def test_the_worker_may_edit_and_revoke(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.do("SET ROLE segs_worker")
    _edit(telemetry, meter_id, 5)
    assert telemetry.rows(REVOKE, meter_id, SUNDAY, SUNDAY + DAY, "a mistake", "ada", NOW) == [{"n": 1}]


def test_there_is_nothing_to_revoke_where_nobody_edited(telemetry: Telemetry) -> None:
    with pytest.raises(psycopg.Error) as refused:
        telemetry.rows(REVOKE, telemetry.meter(), SUNDAY, SUNDAY + DAY, "why", "ada", NOW)
    assert refused.value.sqlstate == "SG042"


def test_a_gap_whose_energy_somebody_knows_is_shared_out_like_the_days_before(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY - 7 * DAY, [1, 2, 3, 4] * 24)
    ask = "SELECT interval_estimate(%s, %s, %s, %s, NULL, 'from the bill', 'ada', %s) AS n"
    later = SUNDAY + 11 * DAY
    assert telemetry.rows(ask, meter_id, SUNDAY, SUNDAY + 10 * DAY, 4801, later) == [{"n": 960}]
    validate(telemetry, later)
    rows = effective(telemetry, meter_id, SUNDAY, SUNDAY + 10 * DAY)
    assert sum(row["energy_import_wh"] for row in rows) == 4801
    assert {row["quality"] for row in rows} == {8}


@pytest.mark.parametrize("read", [True, False])
def test_reactive_energy_of_a_gap_is_shared_out_with_its_energy(telemetry: Telemetry, read: bool) -> None:
    """Like that of the days before; where it was never read, like the energy."""
    meter_id = telemetry.meter()
    reactive = {"reactive_energy_import_varh": [3, 2, 1, 0] * 24} if read else {}
    put(telemetry, meter_id, SUNDAY - 7 * DAY, [1, 2, 3, 4] * 24, **reactive)
    ask = "SELECT interval_estimate(%s, %s, %s, %s, NULL, 'from the bill', 'ada', %s, p_import_varh => %s) AS n"
    assert telemetry.rows(ask, meter_id, SUNDAY, SUNDAY + DAY, 2400, NOW, 1440) == [{"n": 96}]
    rows = effective(telemetry, meter_id, SUNDAY, SUNDAY + DAY)
    assert [row["energy_import_wh"] for row in rows] == [10, 20, 30, 40] * 24
    expected = [30, 20, 10, 0] if read else [6, 12, 18, 24]
    assert [row["reactive_energy_import_varh"] for row in rows] == expected * 24
    assert {row["quality"] for row in rows} == {8}


def test_reactive_energy_that_nothing_says_how_to_share_out_is_refused(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY - 7 * DAY, [1] * 96, energy_export_wh=[2] * 96)
    ask = "SELECT interval_estimate(%s, %s, %s, NULL, 9, 'why', 'ada', %s, p_import_varh => 5) AS n"
    assert _refused(telemetry, ask, meter_id, SUNDAY, SUNDAY + DAY, NOW).sqlstate == "SG044"


def test_an_estimate_by_hand_is_refused_over_readings(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    put(telemetry, meter_id, SUNDAY, [1])
    with pytest.raises(psycopg.Error) as refused:
        telemetry.rows(
            "SELECT interval_estimate(%s, %s, %s, 9, NULL, 'why', 'ada', %s)", meter_id, SUNDAY, SUNDAY + DAY, NOW
        )
    assert refused.value.sqlstate == "SG043"


def test_no_edit_is_more_than_sums_can_hold(telemetry: Telemetry) -> None:
    """C8: else every question about the month, and every look at the day, failed for ever."""
    meter_id = telemetry.meter()
    for import_wh, export_wh in ((2**63 - 1, None), (5, 10**13 + 1)):
        with pytest.raises(psycopg.errors.NumericValueOutOfRange, match="no meter moves by"):
            _edit(telemetry, meter_id, import_wh, export_wh)
    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match="no meter moves by"):
        telemetry.rows(
            "SELECT interval_estimate(%s, %s, %s, %s, NULL, 'a bill', 'ada', %s)",
            *(meter_id, SUNDAY, SUNDAY + DAY, 2**62, NOW),
        )


def test_a_revocation_has_the_quarter_hours_looked_at_that_it_changed_and_no_others(telemetry: Telemetry) -> None:
    """C8: sixty years of days would take longer than the database allows, again and again."""
    meter_id = telemetry.meter()
    _edit(telemetry, meter_id, 80)
    telemetry.do("DELETE FROM dirty_intervals")
    span = ("1990-01-01 00:00Z", "2050-01-01 00:00Z")
    telemetry.rows(REVOKE, meter_id, *span, "a mistake", "bob", NOW)
    marks = telemetry.rows("SELECT first_bucket, last_bucket FROM dirty_intervals")
    assert marks == [{"first_bucket": SUNDAY, "last_bucket": SUNDAY}]


ESTIMATE = "SELECT interval_estimate(%s, %s, %s, %s, NULL, 'a bill', 'ada', %s, %s) AS n"
BEYOND = (
    "SELECT interval_edit(%s, ARRAY[%s::timestamptz], ARRAY[%s::bigint], ARRAY[NULL::bigint], 'why', 'ada', %s, %s)"
    " AS n"
)


def _refused(telemetry: Telemetry, query: str, *parameters: object) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as refused:
        telemetry.rows(query, *parameters)
    assert telemetry.rows("SELECT FROM interval_versions") == []
    return refused.value


def test_nobody_edits_a_quarter_hour_that_has_not_ended(telemetry: Telemetry) -> None:
    """C8: an edit of tomorrow would come before every reading of it."""
    meter_id = telemetry.meter()
    for at in (NOW, NOW - QUARTER / 3 * 2, NOW + 300 * DAY):
        bucket = at - (at - SUNDAY) % QUARTER
        assert _refused(telemetry, BEYOND, meter_id, bucket, 5, NOW - QUARTER / 3, True).sqlstate == "SG045"
    assert telemetry.rows(BEYOND, meter_id, NOW - QUARTER, 5, NOW, False) == [{"n": 1}]
    span = (SUNDAY, NOW + QUARTER)
    with pytest.raises(psycopg.Error) as refused:
        telemetry.rows(ESTIMATE, meter_id, *span, 5, NOW, False)
    assert refused.value.sqlstate == "SG045"


def test_no_edit_is_more_than_the_connection_carries_unless_somebody_says_so(telemetry: Telemetry) -> None:
    """20 kW for a quarter-hour are 5000 Wh."""
    meter_id = telemetry.meter(max_power_w=20_000)
    refused = _refused(telemetry, BEYOND, meter_id, SUNDAY, 5001, NOW, False)
    assert refused.sqlstate == "SG046"
    assert "5001 Wh" in str(refused)
    assert "meter MTR-00000001 carries: 5000 Wh" in str(refused)
    for energy_wh, beyond in ((5000, False), (5000, True), (5001, True)):
        telemetry.rows(BEYOND, meter_id, SUNDAY, energy_wh, NOW, beyond)
    kept = telemetry.rows("SELECT reason FROM interval_versions ORDER BY version_id")
    noted = "why (beyond the 5000 Wh that the connection carries)"
    assert [row["reason"] for row in kept] == ["why", "why", noted]


def test_no_estimate_is_more_than_the_connection_carries_in_all_of_the_gap(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter(max_power_w=1_000)
    put(telemetry, meter_id, SUNDAY - 7 * DAY, [1, 2, 3, 4] * 24)
    gap = (meter_id, SUNDAY, SUNDAY + DAY)
    assert _refused(telemetry, ESTIMATE, *gap, 24_001, NOW, False).sqlstate == "SG046"
    assert telemetry.rows(ESTIMATE, *gap, 24_000, NOW, False) == [{"n": 96}]
    assert telemetry.rows(ESTIMATE, *gap, 24_001, NOW, True) == [{"n": 96}]
    live = telemetry.rows("SELECT DISTINCT reason FROM interval_versions WHERE ended_at IS NULL")
    assert live == [{"reason": "a bill (beyond the 24000 Wh that the connection carries)"}]


def test_a_time_that_is_no_quarter_hour_cannot_be_edited(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    refused = _refused(telemetry, BEYOND, meter_id, SUNDAY + QUARTER / 2, 5, NOW, False)
    assert (refused.sqlstate, refused.diag.message_hint) == ("SG041", "Give times at minute 0, 15, 30 or 45.")
    assert _refused(telemetry, ESTIMATE, meter_id, SUNDAY, SUNDAY + QUARTER / 2, 5, NOW, False).sqlstate == "SG041"
