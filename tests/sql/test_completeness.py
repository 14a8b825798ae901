"""Completeness: sequence numbers that never came, intervals in which a meter was silent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from typer import Typer
from typer.testing import CliRunner

from cloud.completeness.cli import completeness
from cloud.completeness.measure import Completeness, Stream, measure
from tests.sql.conftest import START

STREAM = UUID("0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11")


def _deliver(telemetry: Any, *numbers: int, at_s: float = 0, quarantined: int = 0, stream: UUID = STREAM) -> None:
    for seq in numbers:
        telemetry.do(
            "INSERT INTO ingest_batches (gateway_id, stream, seq, sha256, received_at, readings, stored, duplicates,"
            " quarantined) VALUES (1, %s, %s, %s, %s, 10, %s, 1, %s)",
            *(stream, seq, b"x" * 32, START + timedelta(seconds=at_s), 9 - quarantined),
            json.dumps([{"device": "attic", "reason": "future", "readings": quarantined}] if quarantined else []),
        )


def _measure(telemetry: Any, *, hours: float = 1, whole: bool = False) -> Completeness:
    with psycopg.connect(telemetry.dsn, autocommit=True) as connection:
        return measure(connection, since=START, until=START + timedelta(hours=hours), whole=whole)


def test_missing_sequence_numbers_are_named_as_ranges(telemetry: Any) -> None:
    _deliver(telemetry, 2, 3, 7, 8, 9, 11, quarantined=2)
    [stream] = _measure(telemetry).streams
    assert (stream.first_seq, stream.last_seq, stream.batches) == (2, 11, 6)
    assert (stream.missing_batches, stream.missing) == (5, [[1, 1], [4, 6], [10, 10]])
    assert (stream.readings, stream.stored, stream.duplicates, stream.quarantined) == (60, 42, 6, 12)


def test_a_batch_that_came_outside_the_window_is_not_missing(telemetry: Any) -> None:
    _deliver(telemetry, 1, 2, 5, at_s=-7200)
    _deliver(telemetry, 6, 9, at_s=60)
    _deliver(telemetry, 8, at_s=7200)
    [stream] = _measure(telemetry).streams
    assert (stream.batches, stream.missing) == (2, [[7, 7]])


def test_what_comes_at_the_end_of_the_window_belongs_to_the_next(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=60)
    telemetry.registers(meter_id, [(s, s) for s in range(0, 3601, 60)])
    _deliver(telemetry, 1)
    _deliver(telemetry, 2, at_s=3600)
    found = _measure(telemetry)
    assert [stream.batches for stream in found.streams] == [1]
    assert [(meter.expected, meter.received) for meter in found.meters] == [(60, 60)]


def test_a_stream_does_not_go_on_where_another_ended(telemetry: Any) -> None:
    """A gateway with a new buffer begins at 1 again."""
    _deliver(telemetry, 1, 2, 3, at_s=-60, stream=UUID(int=1))
    _deliver(telemetry, 4)
    [stream] = _measure(telemetry).streams
    assert stream.missing == [[1, 3]]


def test_no_more_gaps_are_listed_than_asked_for_and_all_are_counted(telemetry: Any) -> None:
    telemetry.registers(telemetry.meter(), [(s, s) for s in range(0, 50, 10)])
    query = "SELECT gap_count, missing, jsonb_array_length(gaps) AS listed FROM meter_completeness(%s, %s, false, 2)"
    assert telemetry.rows(query, START, START + timedelta(hours=1)) == [{"gap_count": 4, "missing": 36, "listed": 2}]
    query = "SELECT gaps -> 1 ->> 'to' AS newest FROM meter_completeness(%s, %s, false, 2)"
    assert telemetry.rows(query, START, START + timedelta(hours=1))[0]["newest"].startswith("2026-03-01T12:00:40")


def test_a_meter_that_came_whole_has_no_gap(telemetry: Any) -> None:
    meter_id = telemetry.meter()
    telemetry.registers(meter_id, [(s + (s % 3) / 10, s) for s in range(600)])
    [meter] = _measure(telemetry).meters
    assert (meter.expected, meter.received, meter.missing, meter.gaps) == (600, 600, 0, [])


def test_every_silence_of_a_meter_is_named(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=10)
    telemetry.registers(meter_id, [(s, s) for s in range(0, 600, 10) if s not in (50, 300, 310, 320)])
    [meter] = _measure(telemetry).meters
    assert (meter.expected, meter.received, meter.missing, meter.gap_count) == (60, 56, 4, 2)
    assert [gap["missing"] for gap in meter.gaps] == [1, 3]
    assert meter.gaps[1]["from"].startswith("2026-03-01T12:04:50")
    assert meter.gaps[1]["to"].startswith("2026-03-01T12:05:30")


def test_a_given_window_is_expected_whole(telemetry: Any) -> None:
    present, silent = telemetry.meter(interval_s=60), telemetry.meter(interval_s=60)
    telemetry.registers(present, [(s, s) for s in range(600, 3000, 60)])
    found = _measure(telemetry, whole=True)
    assert [(meter.expected, meter.received, meter.missing) for meter in found.meters] == [(60, 40, 20), (60, 0, 60)]
    assert [len(meter.gaps) for meter in found.meters] == [2, 1]
    assert silent == 2


def test_a_meter_is_expected_only_while_it_is_registered(telemetry: Any) -> None:
    meter_id = telemetry.meter(interval_s=60)
    valid = START + timedelta(minutes=30)
    telemetry.do("UPDATE device_registry SET valid = tstzrange(%s, 'infinity') WHERE meter_id = %s", valid, meter_id)
    telemetry.registers(meter_id, [(s, s) for s in range(1800, 3600, 60)])
    [meter] = _measure(telemetry, whole=True).meters
    assert (meter.expected, meter.received, meter.missing) == (30, 30, 0)


def test_readings_in_the_quarantine_are_counted_apart(telemetry: Any) -> None:
    telemetry.meter()
    for device, released in (("d1", None), ("d1", START), ("cellar", None)):
        telemetry.do(
            "INSERT INTO quarantine (reason, readings, block, batch_id, gateway_id, device, first_time, last_time,"
            " created_at, released_at, released_stored)"
            " VALUES ('unknown_device', 5, '{}', 1, 1, %s, %s, %s, %s, %s, %s)",
            *(device, START, START, START, released, None if released is None else 5),
        )
    found = _measure(telemetry)
    assert found.meters[0].quarantined == 5
    assert [(waiting.device, waiting.readings) for waiting in found.quarantine] == [("cellar", 5), ("d1", 5)]
    assert not found.complete


@pytest.fixture
def command(telemetry: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry.dsn)
    app = Typer()
    app.command()(completeness)
    window = ["--from", "2026-03-01T12:00Z", "--to", "2026-03-01T12:10:00+00:00"]
    return lambda *options: CliRunner().invoke(app, [*window, *options])


def test_the_command_ends_with_1_only_when_asked_to_be_strict(telemetry: Any, command: Any) -> None:
    meter_id = telemetry.meter(interval_s=60)
    telemetry.registers(meter_id, [(s, s) for s in range(0, 600, 60)])
    assert command("--strict").exit_code == 0
    _deliver(telemetry, 2)
    assert command().exit_code == 0
    assert command("--strict").exit_code == 1


def test_the_command_speaks_json(telemetry: Any, command: Any) -> None:
    telemetry.registers(telemetry.meter(interval_s=60), [(0, 1), (240, 5)])
    _deliver(telemetry, 1, 3)
    said = json.loads(command("--json").stdout)
    assert said["meters"][0]["missing"] == 8
    assert said["streams"][0]["missing"] == [[2, 2]]
    assert said["complete"] is False


def test_the_tables_name_what_is_missing(telemetry: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    telemetry.registers(telemetry.meter(interval_s=60), [(0, 1), (240, 5)])
    _deliver(telemetry, 1, 3, 6)
    lines = command().stdout.splitlines()
    [meter] = [line.split() for line in lines if line.startswith("MTR-00000001  ")]
    assert meter == ["MTR-00000001", "attic/d1", "10", "2", "0", "8"]
    assert "attic 0b9d3f0e  missing batches: 2, 4-5" in lines
    assert "MTR-00000001 attic/d1  2026-03-01 12:00:00 to 12:10:00 UTC  8 missing in 2 gaps  unknown" in lines
    assert "missing by reason: unknown 8" in lines


def _gap_lines(command: Any, *options: str) -> list[str]:
    return [line for line in command(*options).stdout.splitlines() if line.startswith("MTR-00000001 attic/d1  ")]


def test_of_many_gaps_the_newest_are_told_and_how_much_the_others_lack(telemetry: Any, command: Any) -> None:
    # Two minutes from one to the next, which is too far apart to be told as one.
    telemetry.registers(telemetry.meter(interval_s=1), [(s, s) for s in range(7200) if s % 120 not in (50, 51, 52)])
    lines = _gap_lines(command, "--to", "2026-03-01T14:00Z")
    assert lines[0] == "MTR-00000001 attic/d1  120 missing earlier; --from and --to show when, or --json"
    assert len(lines) == 21
    assert lines[-1] == "MTR-00000001 attic/d1  2026-03-01 13:58:49 to 13:58:53 UTC  3 missing  unknown"


def test_neighbouring_gaps_for_one_reason_are_one_line(telemetry: Any, command: Any) -> None:
    """A line that loses every second poll filled the screen, a reading a line, and hid all else."""
    telemetry.registers(telemetry.meter(interval_s=1), [(s, s) for s in range(0, 600, 4)])
    said = json.loads(command("--json").stdout)["meters"][0]
    assert _gap_lines(command) == [
        "MTR-00000001 attic/d1  2026-03-01 12:00:00 to 12:10:00 UTC  450 missing in 150 gaps  unknown"
    ]
    assert [one["gaps"] for one in said["stretches"]] == [150]
    assert (len(said["gaps"]), said["gap_count"]) == (100, 150)


def test_a_time_that_is_none_is_refused_with_an_example(command: Any) -> None:
    refused = command("--from", "yesterday")
    assert refused.exit_code == 2
    assert "2026-11-27T10:00Z" in refused.output
    assert "%Y" not in command("--help").output


def test_a_window_that_ends_before_it_begins_is_refused(command: Any) -> None:
    refused = command("--from", "2026-03-02T00:00Z")
    assert refused.exit_code == 2
    assert "is not before --to" in refused.output


def test_a_gateway_that_nobody_has_is_not_complete(telemetry: Any, command: Any) -> None:
    """A typing error looked like a gateway from which nothing is missing."""
    refused = command("--gateway", "nosuch", "--strict")
    assert refused.exit_code == 1
    assert str(refused.exception) == "there is no gateway nosuch; segs-cloud gateway list names them"


def test_one_gateway_can_be_asked_for_alone() -> None:
    def stream(gateway: str, missing: int) -> Stream:
        return Stream(
            gateway=gateway, stream="s", first_seq=1, last_seq=3, batches=3 - missing, readings=1, stored=1,
            duplicates=0, quarantined=0, missing_batches=missing, missing=[],
        )  # fmt: skip

    moment = datetime(2026, 3, 1, tzinfo=UTC)
    both = Completeness(
        since=moment, until=moment, streams=[stream("attic", 0), stream("barn", 1)], meters=[], quarantine=[]
    )

    assert both.of("attic").complete
    assert not both.of("barn").complete
    assert [one.gateway for one in both.of("attic").streams] == ["attic"]
