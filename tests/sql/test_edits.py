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


def test_the_api_may_edit_and_revoke(telemetry: Telemetry) -> None:
    meter_id = telemetry.meter()
    telemetry.do("SET ROLE segs_api")
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
    assert telemetry.rows(ask, meter_id, SUNDAY, SUNDAY + 10 * DAY, 4801, NOW) == [{"n": 960}]
    validate(telemetry, NOW)
    rows = effective(telemetry, meter_id, SUNDAY, SUNDAY + 10 * DAY)
    assert sum(row["energy_import_wh"] for row in rows) == 4801
    assert {row["quality"] for row in rows} == {8}


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
