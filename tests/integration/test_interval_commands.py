"""`segs-cloud vee` and `segs-cloud meter`, as an operator runs them."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from subprocess import CompletedProcess
from typing import Any

import psycopg
import pytest

from cloud.operator import actor
from tests.integration.conftest import SegsCloud

Run = SegsCloud


@pytest.fixture
def run(segs_cloud: SegsCloud) -> Run:
    """Runs a command; one meter is registered, in the region north."""
    assert segs_cloud("gateway", "add", "attic").returncode == 0
    device = ("--region", "north", "--model", "x", "--interval-ms", "1000")
    assert segs_cloud("gateway", "device", "add", "attic", "main", *device).returncode == 0
    return segs_cloud


def _rows(result: CompletedProcess[str]) -> list[dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


SPAN = ("MTR-00000001", "--from", "2026-03-01T00:00Z", "--to", "2026-03-02T01:00+01:00")


def test_an_edit_is_made_shown_revoked_and_still_known(run: Run) -> None:
    span = ("MTR-00000001", "--from", "2026-03-01T00:00Z", "--to", "2026-03-02T00:00Z")
    edited = run("vee", "edit", span[0], "--at", "2026-03-01T00:15Z", "--import-wh", "250", "--reason", "read by eye")
    assert edited.returncode == 0, edited.stderr
    [shown] = _rows(run("vee", "show", *span, "--json"))
    assert (shown["energy_import_wh"], shown["quality"], shown["source"]) == (250, 7, "edit")
    assert run("vee", "revoke", *span, "--reason", "a mistake").returncode == 0
    assert _rows(run("vee", "show", *span, "--json")) == []
    [kept] = _rows(run("vee", "show", *span, "--history", "--json"))
    assert (kept["reason"], kept["ended_reason"]) == ("read by eye", "a mistake")
    assert kept["actor"] == kept["ended_by"] == actor()


def test_an_operator_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user stands in no passwd file."""
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert actor() == "segs-cloud:987654321"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("vee", "show", "MTR-00000009", *SPAN[1:]), 1, "there is no meter MTR-00000009"),
        (("vee", "show", SPAN[0], "--from", "2026-03-01", "--to", "2026-03-02T00:00Z"), 2, "has no offset"),
        (("vee", "show", SPAN[0], "--from", "yesterday", "--to", "2026-03-02T00:00Z"), 2, "is no time"),
    ],
)
def test_what_makes_no_sense_is_told(run: Run, arguments: tuple[str, ...], status: int, said: str) -> None:
    refused = run(*arguments)
    assert refused.returncode == status
    assert said in refused.stderr


def test_an_edit_says_what_holds_now_and_what_held_before(run: Run) -> None:
    at = ("vee", "edit", "MTR-00000001", "--at", "2026-03-01T00:15Z", "--reason", "read by eye")
    first = run(*at, "--import-wh", "250")
    span = "MTR-00000001: 2026-03-01T00:15:00Z to 2026-03-01T00:30:00Z has"
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr == f"{span} 250 Wh of import now; nothing was known of it.\n"
    second = run(*at, "--import-wh", "240", "--export-wh", "3")
    assert second.stderr == (
        f"{span} 240 Wh of import and 3 Wh of export now; it had 250 Wh of import (edit, quality 7).\n"
    )


def test_an_edit_of_reactive_energy_leaves_an_edit_of_energy_as_it_is(run: Run) -> None:
    at = ("vee", "edit", "MTR-00000001", "--at", "2026-03-01T00:15Z", "--reason", "from the log")
    span = "MTR-00000001: 2026-03-01T00:15:00Z to 2026-03-01T00:30:00Z has"
    assert run(*at, "--import-wh", "250").returncode == 0
    second = run(*at, "--import-varh", "60", "--export-varh", "0")
    assert second.stderr == (
        f"{span} 60 varh of reactive import and 0 varh of reactive export now; "
        "it had 250 Wh of import (edit, quality 7).\n"
    )
    third = run(*at, "--import-varh", "50")
    assert third.stderr.endswith(
        "; it had 250 Wh of import and 60 varh of reactive import and 0 varh of reactive export (edit, quality 7).\n"
    )
    names = ("energy_import_wh", "energy_export_wh", "reactive_energy_import_varh", "reactive_energy_export_varh")
    [held] = _rows(run("vee", "show", *SPAN, "--json"))
    assert [held[name] for name in names] == [250, None, 50, 0]
    *_, last = _rows(run("vee", "show", *SPAN, "--history", "--json"))
    assert [last[name] for name in names] == [250, None, 50, 0]
    shown = run("vee", "show", *SPAN).stdout.splitlines()
    assert shown[2].split() == ["2026-03-01", "00:15", "250", "50", "0", "7", "5", "edit"]
    nothing, wrong = run(*at), run(*at, "--import-varh", "x")
    assert "none of --import-wh, --export-wh, --import-varh, --export-varh; give one or more" in nothing.stderr
    assert "'x' is no number of varh; give a whole one" in wrong.stderr


def test_an_edit_beyond_the_connection_or_of_the_future_is_refused_with_what_to_do(run: Run, telemetry_db: str) -> None:
    at = ("vee", "edit", "MTR-00000001", "--reason", "why", "--at", "2026-03-01T00:15Z")
    refused = run(*at, "--import-wh", "250001")
    assert refused.returncode == 1
    assert refused.stderr == (
        "segs-cloud: 250001 Wh from 2026-03-01 00:15:00+00 to 2026-03-01 00:30:00+00 are more than the connection of "
        "meter MTR-00000001 carries: 250000 Wh; look at unit and decimals; --beyond-limit takes it all the same, and "
        "the reason then says so\n"
    )
    assert run(*at, "--import-wh", "250001", "--beyond-limit").returncode == 0
    span = ("--from", "2026-03-01T00:00Z", "--to", "2026-03-01T01:00Z")
    [kept] = _rows(run("vee", "show", "MTR-00000001", *span, "--history", "--json"))
    assert kept["reason"] == "why (beyond the 250000 Wh that the connection carries)"
    later = run(*at[:-1], "2999-01-01T00:00Z", "--import-wh", "5", "--beyond-limit")
    assert later.returncode == 1
    assert "nobody can know yet what is used up to 2999-01-01 00:15:00+00; give quarter-hours that" in later.stderr


def test_where_nothing_is_the_span_that_was_looked_at_is_told(run: Run) -> None:
    shown = run("vee", "show", "MTR-00000001", "--from", "2026-03-01T01:00+01:00", "--to", "2026-03-02T00:00Z")
    assert (shown.returncode, shown.stdout) == (0, "")
    looked = "from 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z.\n"
    assert shown.stderr == f"MTR-00000001: no quarter-hour is known {looked}"
    ever = run("vee", "show", *SPAN, "--history")
    assert ever.stderr == f"MTR-00000001: nothing was ever estimated or edited {looked}"
    found = run("vee", "findings", "--from", "2026-03-01", "--to", "2026-03-02")
    assert (found.stdout, found.stderr) == ("", "No finding stands of the local days 2026-03-01 to 2026-03-02.\n")
    turned = run("vee", "findings", "--from", "2026-03-02", "--to", "2026-03-01")
    assert turned.returncode == 2
    assert "--from 2026-03-02 is after --to 2026-03-01" in turned.stderr
    assert run("vee", "findings", "--from", "1.3.2026").returncode == 2


def test_what_is_shown_to_people_is_a_table(run: Run, telemetry_db: str) -> None:
    run("vee", "edit", "MTR-00000001", "--at", "2026-03-01T00:15Z", "--import-wh", "250", "--reason", "by [eye]\x1b")
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute(
            "INSERT INTO vee_findings (rule, meter_id, day, first_bucket, last_bucket, measured, allowed, found_at)"
            " VALUES ('spike', 1, '2026-03-01', '2026-03-01T12:00Z', '2026-03-01T12:15Z', 900, 280, now())"
        )
    held = run("vee", "show", *SPAN).stdout.splitlines()
    assert held[1].split("  ")[0] == "start, UTC"
    assert held[2].split() == ["2026-03-01", "00:15", "250", "7", "1", "edit"]
    ever = run("vee", "show", *SPAN, "--history").stdout.splitlines()
    assert "by [eye]\\x1b" in ever[2]
    found = run("vee", "findings", "--from", "2026-03-01", "--to", "2026-03-01").stdout.splitlines()
    assert found[2].split() == (
        ["MTR-00000001", "2026-03-01", "spike", "2026-03-01", "12:00", "2026-03-01", "12:15", "900", "280"]
    )


def test_findings_are_listed_by_day(run: Run, telemetry_db: str) -> None:
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute(
            "INSERT INTO vee_findings (rule, meter_id, day, first_bucket, last_bucket, measured, allowed, found_at)"
            " VALUES ('spike', 1, '2026-03-01', '2026-03-01T12:00Z', '2026-03-01T12:00Z', 900, 280, now())"
        )
    [found] = _rows(run("vee", "findings", "--from", "2026-03-01", "--to", "2026-03-01", "--json"))
    assert (found["meter_code"], found["rule"], found["measured"]) == ("MTR-00000001", "spike", 900)


def test_a_move_reaches_the_registry_and_marks_both_regions(run: Run, domain_db: str, telemetry_db: str) -> None:
    with psycopg.connect(domain_db) as domain:
        domain.execute("SELECT region_set('south', 'South', 'Europe/Paris', NULL, now())")
    moved = run("meter", "move", "MTR-00000001", "--region", "south", "--from", "2026-03-01T00:00Z")
    assert moved.returncode == 0, moved.stderr
    with psycopg.connect(telemetry_db) as telemetry:
        places = telemetry.execute("SELECT region, timezone FROM device_registry ORDER BY valid").fetchall()
        since = telemetry.execute("SELECT region, min(bucket) FROM dirty_regions GROUP BY 1 ORDER BY 1").fetchall()
    assert places == [("north", "UTC"), ("south", "Europe/Paris")]
    assert since == [(region, datetime(2026, 3, 1, tzinfo=UTC)) for region in ("north", "south")]


def test_a_move_says_where_the_meter_is_and_which_moves_stand_after_it(run: Run, domain_db: str) -> None:
    """D6: whoever corrects the past believes that what he said last is what holds."""
    with psycopg.connect(domain_db) as domain:
        for region in ("south", "west"):
            domain.execute("SELECT region_set(%s, 'x', 'Europe/Paris', NULL, now())", [region])
    first = run("meter", "move", "MTR-00000001", "--region", "south", "--from", "2026-03-01T00:00Z")
    assert first.stderr == "MTR-00000001: is in south (Europe/Paris) from 2026-03-01T00:00:00Z on.\n"
    zone = ("--timezone", "UTC")
    run("meter", "move", "MTR-00000001", "--region", "north", "--from", "2026-05-01T02:00+02:00", *zone)
    before = run("meter", "move", "MTR-00000001", "--region", "west", "--from", "2026-02-01T00:00Z")
    assert before.stderr.splitlines() == [
        "MTR-00000001: is in west (Europe/Paris) from 2026-02-01T00:00:00Z to 2026-03-01T00:00:00Z.",
        "Moves after that stand as they were: to south (Europe/Paris) at 2026-03-01T00:00:00Z; "
        "to north (UTC) at 2026-05-01T00:00:00Z.",
    ]
    again = run("meter", "move", "MTR-00000001", "--region", "west", "--from", "2026-02-02T00:00Z")
    assert again.stderr.splitlines()[0] == (
        "MTR-00000001: is in west (Europe/Paris) at 2026-02-02T00:00:00Z already; nothing changed."
    )
    assert [done.stdout for done in (first, before, again)] == ["", "", ""]


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


def _read(telemetry_db: str, *reads: tuple[str, int]) -> None:
    """Reads of the import register at times of the first of March 2026, as far as the database still keeps them."""
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute("INSERT INTO meter_registers VALUES (1, 1, date_trunc('day', now() - INTERVAL '1 day'))")
        for at, wh in reads:
            telemetry.execute(
                "INSERT INTO raw_readings (time, meter_id, batch_id, power_w, energy_import_wh)"
                " VALUES (%s, 1, 1, 7, %s)",
                [at, wh],
            )


def test_an_exchange_reaches_the_registers_and_marks_what_it_touches(run: Run, telemetry_db: str) -> None:
    reads = ("--final-import-wh", "5030", "--first-import-wh", "200")
    told = run("meter", "exchange", "MTR-00000001", "--serial", "B-2", "--at", "2026-03-01T12:00Z", *reads)
    assert told.returncode == 0, told.stderr
    with psycopg.connect(telemetry_db) as connection:
        epochs = connection.execute(
            "SELECT register, final_value, first_value FROM register_epochs ORDER BY 1"
        ).fetchall()
        assert epochs == [(1, 5030, 200), (2, None, None), (3, None, None), (4, None, None)]
        marks = connection.execute("SELECT meters, first_time FROM dirty_meters").fetchall()
        assert marks == [([1], datetime(2026, 3, 1, 12, tzinfo=UTC))]
    for again, said in (("2026-03-01T11:00Z", "or later already"), ("2999-01-01T00:00Z", "has not happened yet")):
        refused = run("meter", "exchange", "MTR-00000001", "--serial", "C-3", "--at", again)
        assert refused.returncode == 1
        assert said in refused.stderr


YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)


def _at(minute: float) -> str:
    """A time of yesterday: readings are kept for a week."""
    return f"{YESTERDAY + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"


def _exchange(run: Run, final: int, first: int, *more: str, at: str = _at(0)) -> CompletedProcess[str]:
    reads = ("--final-import-wh", str(final), "--first-import-wh", str(first))
    return run("meter", "exchange", "MTR-00000001", "--serial", "B-2", "--at", at, *reads, *more)


def test_an_exchange_says_what_it_recorded_and_what_is_computed_anew(run: Run, telemetry_db: str) -> None:
    _read(telemetry_db, (_at(-1), 5020), (_at(1), 220))
    told = _exchange(run, 5030, 200)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.splitlines() == [
        f"MTR-00000001: from {_at(0)} on it is x B-2, before that it was x without a known serial number.",
        "import: final read 5030 Wh, first read 200 Wh.",
        f"A worker computes intervals anew from the reading of {_at(-1)} to that of {_at(1)}, within minutes.",
    ]


def test_an_exchange_long_ago_says_that_intervals_stay(run: Run) -> None:
    told = _exchange(run, 5030, 200, at="2026-03-01T12:00Z")
    assert "Its readings are no longer kept" in told.stderr
    assert "segs-cloud vee edit" in told.stderr


def test_an_exchange_that_readings_contradict_is_refused_with_the_readings(
    run: Run, domain_db: str, telemetry_db: str
) -> None:
    """C7: a final read in kWh would book a fall of thousands, or nothing for ever."""
    _read(telemetry_db, (_at(-1), 5020), (_at(1), 220))
    refused = _exchange(run, 5, 90_000)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines() == [
        "segs-cloud: MTR-00000001: nothing was recorded, because readings contradict it:",
        f"  the final import read, 5 Wh, is below the reading of {_at(-1)}, 5020 Wh",
        f"  the first import read, 90000 Wh, is above the reading of {_at(1)}, 220 Wh",
        "Look at displays, units and --at again. If it is true all the same, say why: --despite-readings REASON",
    ]
    far = _exchange(run, 50_300, 0, at=_at(-0.5))
    # 1 MW for 30 s, and a whole kWh.
    said = f"50300 Wh, is 45280 Wh above the reading of {_at(-1)}, 5020 Wh; the connection carries 9333 Wh in that time"
    assert said in far.stderr
    with psycopg.connect(domain_db) as domain, psycopg.connect(telemetry_db) as telemetry:
        assert domain.execute("SELECT count(*) FROM meter_exchanges").fetchone() == (0,)
        assert telemetry.execute("SELECT count(*) FROM register_epochs").fetchone() == (0,)


def test_an_exchange_against_readings_is_recorded_with_its_reason(run: Run, domain_db: str, telemetry_db: str) -> None:
    _read(telemetry_db, (_at(-1), 5020), (_at(1), 220))
    told = _exchange(run, 5, 200, "--despite-readings", "the gateway read the neighbour's")
    assert told.returncode == 0, told.stderr
    assert f"recorded although the final import read, 5 Wh, is below the reading of {_at(-1)}, 5020 Wh." in told.stderr
    with psycopg.connect(domain_db) as domain:
        assert domain.execute("SELECT despite FROM meter_exchanges").fetchall() == [
            ("the gateway read the neighbour's",)
        ]
    [exchange] = json.loads(run("meter", "show", "MTR-00000001", "--json").stdout)["exchanges"]
    assert exchange["despite"] == "the gateway read the neighbour's"


def test_a_reason_that_nothing_asked_for_is_not_kept(run: Run, domain_db: str, telemetry_db: str) -> None:
    _read(telemetry_db, (_at(-1), 5020), (_at(1), 220))
    assert "was not needed" in _exchange(run, 5030, 200, "--despite-readings", "x").stderr
    with psycopg.connect(domain_db) as domain:
        assert domain.execute("SELECT despite FROM meter_exchanges").fetchall() == [(None,)]


def test_an_exchange_that_is_revoked_never_happened(run: Run, domain_db: str, telemetry_db: str) -> None:
    _read(telemetry_db, (_at(-1), 5020), (_at(1), 5040))
    before = json.loads(run("meter", "show", "MTR-00000001", "--json").stdout)
    assert _exchange(run, 5025, 5035).returncode == 0
    revoked = run("meter", "exchange-revoke", "MTR-00000001", "--at", _at(0), "--reason", "another meter's")
    assert revoked.returncode == 0, revoked.stderr
    assert revoked.stderr.splitlines() == [
        f"MTR-00000001: the exchange of x without a known serial number for x B-2 at {_at(0)} is revoked; "
        "it is x without a known serial number again.",
        f"A worker computes intervals anew from the reading of {_at(-1)} to that of {_at(1)}, within minutes.",
    ]
    after = json.loads(run("meter", "show", "MTR-00000001", "--json").stdout)
    [kept] = after.pop("exchanges")
    assert (kept["revoked_reason"], kept["new_serial"]) == ("another meter's", "B-2")
    assert after == {name: value for name, value in before.items() if name != "exchanges"}
    with psycopg.connect(telemetry_db) as telemetry:
        assert telemetry.execute("SELECT count(*) FROM register_epochs").fetchone() == (0,)
        assert telemetry.execute("SELECT count(*) FROM dirty_meters").fetchone() == (2,)
    assert _exchange(run, 5026, 5036).returncode == 0
    again = run("meter", "exchange-revoke", "MTR-00000001", "--at", _at(5), "--reason", "x")
    assert (again.returncode, again.stderr) == (
        1,
        f"segs-cloud: meter MTR-00000001 was not exchanged at {_sql(5)}; segs-cloud meter show names its exchanges\n",
    )


def _sql(minute: float) -> str:
    return f"{YESTERDAY + timedelta(minutes=minute):%Y-%m-%d %H:%M:%S+00}"


def test_what_a_revoked_exchange_changed_is_computed_back(run: Run, telemetry_db: str) -> None:
    """Domain, registry, marks and energy, all the way there and back."""

    def energy() -> list[tuple[object, ...]]:
        with psycopg.connect(telemetry_db, autocommit=True) as telemetry:
            while telemetry.execute("SELECT marks FROM aggregate_readings(500, now(), true)").fetchone() != (0,):
                pass
            return telemetry.execute(
                "SELECT bucket, energy_import_wh, quality FROM aggregates_1m ORDER BY bucket"
            ).fetchall()

    _read(telemetry_db, *((_at(n), 1000 + 10 * n) for n in range(10)))
    with psycopg.connect(telemetry_db) as telemetry:
        telemetry.execute("SELECT mark_meters(1, '{1}', %s, %s, now())", [_at(0), _at(9)])
    as_it_was = energy()
    assert sum(int(str(wh)) for _, wh, _ in as_it_was) == 90
    at = _at(4.5)
    assert _exchange(run, 1045, 1010, at=at).returncode == 0
    assert sum(int(str(wh)) for _, wh, _ in energy()) == 45 + 80
    assert run("meter", "exchange-revoke", "MTR-00000001", "--at", at, "--reason", "x").returncode == 0
    assert energy() == as_it_was


def test_a_serial_that_another_meter_has_is_refused(run: Run) -> None:
    device = ("--region", "north", "--model", "x", "--serial", "S-1", "--interval-ms", "1000")
    assert run("gateway", "device", "add", "attic", "second", *device).returncode == 0
    refused = run("meter", "exchange", "MTR-00000001", "--serial", "S-1")
    assert refused.returncode == 1
    assert "serial S-1 is that of another meter" in refused.stderr


def test_what_is_said_of_registers_reaches_the_workers_and_marks_what_is_kept(run: Run, telemetry_db: str) -> None:
    assert run("meter", "registers", "MTR-00000001", "--rollover-wh", "1000000", "--resets").returncode == 0
    assert run("meter", "registers", "MTR-00000001", "--no-resets").returncode == 0
    with psycopg.connect(telemetry_db) as connection:
        told = connection.execute("SELECT register_modulus_wh, register_resets FROM device_registry").fetchall()
        assert told == [(1_000_000, False)]
        marks = connection.execute("SELECT meters, last_time - first_time > '6 days' FROM dirty_meters").fetchall()
        assert marks == [([1], True)] * 2
    assert "there is no meter MTR-00000009" in run("meter", "registers", "MTR-00000009", "--resets").stderr


def test_a_register_does_not_wrap_where_it_was_read_already(run: Run, telemetry_db: str) -> None:
    _read(telemetry_db, (_at(0), 1_000_000))
    refused = run("meter", "registers", "MTR-00000001", "--rollover-wh", "1000000")
    assert refused.returncode == 1
    assert f"energy_import_wh was 1000000 at {_at(0)}, beyond 1000000; give the number after" in refused.stderr
    told = run("meter", "registers", "MTR-00000001", "--rollover-wh", "1000001")
    assert told.stderr.startswith(
        "MTR-00000001: registers wrap at 1000001 Wh, and may not begin again at any time. A worker looks at"
    )
    assert run("meter", "registers", "MTR-00000001").returncode == 2


def test_a_meter_is_shown_with_all_that_is_known_of_it(run: Run, telemetry_db: str, domain_db: str) -> None:
    empty = json.loads(run("meter", "show", "MTR-00000001", "--json").stdout)
    assert empty == {
        "code": "MTR-00000001",
        "model": "x",
        "serial": None,
        "max_power_w": 1e6,
        "site": None,
        "nominal_voltage_v": 230,
        "phases": None,
        "rated_power_w": None,
        "exports": None,
        "rollover_wh": None,
        "resets": False,
        "places": [{"region": "north", "timezone": "UTC", "from": None, "to": None}],
        "devices": [{"gateway": "attic", "device": "main", "interval_ms": 1000, "from": None, "to": None}],
        "owner": None,
        "tariff": None,
        "exchanges": [],
        "last_reading": None,
        "registers": [],
    }
    nobodys = run("meter", "show", "MTR-00000001").stdout.splitlines()
    assert {"owner: nobody", "tariff: none"} <= set(nobodys)
    _read(telemetry_db, (_at(-1), 5020), (_at(1), 220))
    with psycopg.connect(domain_db) as domain:
        domain.execute("INSERT INTO users (email, name) VALUES ('ada@example.org', 'Ada')")
        domain.execute("SELECT meter_give('MTR-00000001', 1, '2026-02-01Z', now())")
        domain.execute(
            "INSERT INTO meter_tariffs (meter_id, code, valid) VALUES (1, 'house', '[2026-01-01Z, infinity)')"
        )
        domain.execute("SELECT region_set('south', 'South', 'Europe/Paris', NULL, now())")
    run("meter", "move", "MTR-00000001", "--region", "south", "--from", "2026-03-01T00:00Z")
    assert _exchange(run, 5030, 200).returncode == 0
    run("meter", "exchange-revoke", "MTR-00000001", "--at", _at(0), "--reason", "no")
    assert _exchange(run, 5030, 230, "--despite-readings", "seen").returncode == 0
    run("gateway", "device", "remove", "attic", "main")
    lines = run("meter", "show", "MTR-00000001").stdout.splitlines()
    revoked, despite = lines[-2:]
    [device] = [line for line in lines if line.startswith("device: ")]
    assert device.startswith("device: attic/main, each 1 s to 20")
    assert [line for line in lines if line not in (revoked, despite, device)] == [
        "MTR-00000001: x B-2",
        "connection: 1000000 W; nominal 230 V, phases those that had voltage, of unknown rating",
        "registers wrap: at no known value; may not begin again at any time",
        "place: north (UTC) to 2026-03-01T00:00:00Z",
        "place: south (Europe/Paris) from 2026-03-01T00:00:00Z",
        "owner: ada@example.org from 2026-02-01T00:00:00Z",
        "tariff: house from 2026-01-01T00:00:00Z",
        f"last reading: {_at(1)}, 7 W",
        f"energy_import_wh: 220, read at {_at(1)}",
    ]
    said = f"exchange: {_at(0)}, x B-2 for x -; import final 5030 Wh, first"
    assert re.fullmatch(rf"{re.escape(said)} 200 Wh; revoked \S+Z: no", revoked)
    assert despite == f"{said} 230 Wh; recorded against readings: seen"


def test_meters_are_listed_with_place_and_device(run: Run) -> None:
    other = (
        "--region",
        "south",
        "--timezone",
        "Europe/Paris",
        "--model",
        "y",
        "--serial",
        "S-1",
        "--interval-ms",
        "500",
    )
    assert run("gateway", "device", "add", "attic", "second/1", *other).returncode == 0
    run("gateway", "device", "remove", "attic", "main")
    lines = [line.split() for line in run("meter", "list").stdout.splitlines()]
    assert lines[0] == ["2", "meters"]
    assert lines[2:] == [
        ["MTR-00000001", "x", "-", "north", "UTC", "-", "-"],
        ["MTR-00000002", "y", "S-1", "south", "Europe/Paris", "attic/second/1", "0.5", "s"],
    ]
    assert [one["code"] for one in _rows(run("meter", "list", "--region", "north", "--json"))] == ["MTR-00000001"]
    assert [one["code"] for one in _rows(run("meter", "list", "--gateway", "attic", "--json"))] == ["MTR-00000002"]
    none = run("meter", "list", "--region", "north", "--gateway", "attic")
    assert (none.stdout, none.stderr) == ("", "There is no meter of region north and gateway attic now.\n")
    for option, there in (("--region", "are north, south"), ("--gateway", "is attic")):
        unknown = run("meter", "list", option, "nosuch")
        message = f"segs-cloud: there is no {option.strip('-')} nosuch; there {there}\n"
        assert (unknown.returncode, unknown.stdout, unknown.stderr) == (1, "", message)
    assert run("meter", "show", "MTR-00000009").stderr == (
        "segs-cloud: there is no meter MTR-00000009; segs-cloud meter list names them\n"
    )
