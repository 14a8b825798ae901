"""`segs-cloud vee` and `segs-cloud meter`, as an operator runs them."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from cloud.cli import app
from cloud.operator import actor

Run = Callable[..., Result]


@pytest.fixture
def run(domain_db: str, telemetry_db: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; one meter is registered, in the region north."""
    monkeypatch.setenv("SEGS_DOMAIN_DSN", domain_db)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry_db)
    runner = CliRunner()

    def command(*arguments: str) -> Result:
        return runner.invoke(app, list(arguments), catch_exceptions=True)

    assert command("gateway", "add", "attic").exit_code == 0
    device = ("--region", "north", "--model", "x", "--interval-ms", "1000")
    assert command("gateway", "device", "add", "attic", "main", *device).exit_code == 0
    return command


def _lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


SPAN = ("MTR-00000001", "--from", "2026-03-01T00:00Z", "--to", "2026-03-01T01:00+01:00")


def test_an_edit_is_made_shown_revoked_and_still_known(run: Run) -> None:
    span = ("MTR-00000001", "--from", "2026-03-01T00:00Z", "--to", "2026-03-02T00:00Z")
    edited = run("vee", "edit", span[0], "--at", "2026-03-01T00:15Z", "--import-wh", "250", "--reason", "read by eye")
    assert edited.exit_code == 0, edited.output
    [shown] = _lines(run("vee", "show", *span))
    assert (shown["energy_import_wh"], shown["quality"], shown["source"]) == (250, 7, "edit")
    assert run("vee", "revoke", *span, "--reason", "a mistake").exit_code == 0
    assert _lines(run("vee", "show", *span)) == []
    [kept] = _lines(run("vee", "show", *span, "--history"))
    assert (kept["reason"], kept["ended_reason"]) == ("read by eye", "a mistake")
    assert kept["actor"] == kept["ended_by"] == actor()


def test_an_operator_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user stands in no passwd file."""
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert actor() == "segs-cloud:987654321"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("vee", "show", "MTR-00000009", *SPAN[1:]), "there is no meter MTR-00000009"),
        (("vee", "show", SPAN[0], "--from", "2026-03-01", "--to", "2026-03-02T00:00Z"), "has no offset"),
        (("vee", "show", SPAN[0], "--from", "yesterday", "--to", "2026-03-02T00:00Z"), "is no time"),
    ],
)
def test_what_makes_no_sense_is_told(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in str(run(*arguments).exception)


def test_findings_are_listed_by_day(run: Run, telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute(
            "INSERT INTO vee_findings (rule, meter_id, day, first_bucket, last_bucket, measured, allowed, found_at)"
            " VALUES ('spike', 1, '2026-03-01', '2026-03-01T12:00Z', '2026-03-01T12:00Z', 900, 280, now())"
        )
    [found] = _lines(run("vee", "findings", "--from", "2026-03-01", "--to", "2026-03-01"))
    assert (found["meter_code"], found["rule"], found["measured"]) == ("MTR-00000001", "spike", 900)


def test_a_move_reaches_the_registry_and_marks_both_regions(run: Run, domain_db: str, telemetry_db: str) -> None:
    with psycopg.connect(domain_db) as domain:
        domain.execute("SELECT region_set('south', 'South', 'Europe/Paris', NULL, now())")
    moved = run("meter", "move", "MTR-00000001", "--region", "south", "--from", "2026-03-01T00:00Z")
    assert moved.exit_code == 0, moved.output
    with psycopg.connect(telemetry_db) as telemetry:
        places = telemetry.execute("SELECT region, timezone FROM device_registry ORDER BY valid").fetchall()
        since = telemetry.execute("SELECT region, min(bucket) FROM dirty_regions GROUP BY 1 ORDER BY 1").fetchall()
    assert places == [("north", "UTC"), ("south", "Europe/Paris")]
    assert since == [(region, datetime(2026, 3, 1, tzinfo=UTC)) for region in ("north", "south")]


async def test_a_meter_that_moved_is_one_meter_to_the_receiver_and_one_registration(
    run: Run, telemetry_db: str
) -> None:
    from cloud.ingest.registry import load

    with psycopg.connect(telemetry_db, autocommit=True) as telemetry:
        telemetry.execute("UPDATE device_registry SET valid = tstzrange('-infinity', '2026-03-01T00:00Z')")
        telemetry.execute(
            "INSERT INTO device_registry"
            " (gateway_id, device, meter_id, meter_code, region, timezone, interval_ms, valid)"
            " SELECT gateway_id, device, meter_id, meter_code, region, 'Asia/Tokyo', interval_ms,"
            " tstzrange('2026-03-01T00:00Z', 'infinity') FROM device_registry"
        )
        rows = telemetry.execute("SELECT * FROM meter_completeness('2026-02-28', '2026-03-02', true)").fetchall()
    async with await psycopg.AsyncConnection.connect(telemetry_db) as connection:
        registry = await load(connection)
    assert [one.meter_id for one in registry.assignments[1, "main"]] == [1]
    assert len(rows) == 1


def test_an_exchange_reaches_the_registers_and_marks_what_it_touches(run: Run, telemetry_db: str) -> None:
    reads = ("--final-import-wh", "5030", "--first-import-wh", "200")
    told = run("meter", "exchange", "MTR-00000001", "--serial", "B-2", "--at", "2026-03-01T12:00Z", *reads)
    assert told.exit_code == 0, told.output
    with psycopg.connect(telemetry_db) as connection:
        epochs = connection.execute(
            "SELECT register, final_value, first_value FROM register_epochs ORDER BY 1"
        ).fetchall()
        assert epochs == [(1, 5030, 200), (2, None, None), (3, None, None), (4, None, None)]
        marks = connection.execute("SELECT meters, first_time FROM dirty_meters").fetchall()
        assert marks == [([1], datetime(2026, 3, 1, 12, tzinfo=UTC))]
    for again, said in (("2026-03-01T11:00Z", "or later already"), ("2999-01-01T00:00Z", "has not happened yet")):
        refused = run("meter", "exchange", "MTR-00000001", "--serial", "C-3", "--at", again)
        assert said in str(refused.exception)


def test_a_serial_that_another_meter_has_is_refused(run: Run) -> None:
    device = ("--region", "north", "--model", "x", "--serial", "S-1", "--interval-ms", "1000")
    assert run("gateway", "device", "add", "attic", "second", *device).exit_code == 0
    refused = run("meter", "exchange", "MTR-00000001", "--serial", "S-1")
    assert "serial S-1 is that of another meter" in str(refused.exception)


def test_what_is_said_of_registers_reaches_the_workers_and_marks_what_is_kept(run: Run, telemetry_db: str) -> None:
    assert run("meter", "registers", "MTR-00000001", "--rollover-wh", "1000000", "--resets").exit_code == 0
    assert run("meter", "registers", "MTR-00000001", "--no-resets").exit_code == 0
    with psycopg.connect(telemetry_db) as connection:
        told = connection.execute("SELECT register_modulus_wh, register_resets FROM device_registry").fetchall()
        assert told == [(1_000_000, False)]
        marks = connection.execute("SELECT meters, last_time - first_time > '6 days' FROM dirty_meters").fetchall()
        assert marks == [([1], True)] * 2
    assert "there is no meter MTR-00000009" in str(run("meter", "registers", "MTR-00000009", "--resets").exception)
