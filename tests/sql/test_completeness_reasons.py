"""Every missing interval has its reason: never polled, thinned, in the quarantine, still at the gateway, or unknown."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cloud.completeness.measure import Meter, measure
from tests.sql.conftest import START

Part = tuple[float, float, int, str, str]
"""Seconds after START, readings, reason, detail."""


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _us(seconds: float) -> int:
    return int(_at(seconds).timestamp() * 1e6)


def _note(telemetry: Any, kind: str, first_s: float, last_s: float, device: str | None = "d1") -> None:
    telemetry.do(
        "INSERT INTO gateway_notes (gateway_id, batch_id, kind, device, first_time, last_time, readings, detail)"
        " VALUES (1, 1, %s, %s, %s, %s, 0, '')",
        *(kind, device, _at(first_s), _at(last_s)),
    )


def _quarantine(telemetry: Any, reason: str, times_s: Iterable[float], device: str = "d1") -> None:
    times_us = [_us(seconds) for seconds in times_s]
    telemetry.do(
        "INSERT INTO quarantine"
        " (batch_id, gateway_id, device, reason, readings, first_time, last_time, block, created_at)"
        " VALUES (1, 1, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s)",
        *(device, reason, len(times_us), min(times_us) / 1e6, max(times_us) / 1e6, Jsonb({"time_us": times_us}), START),
    )


def _report(telemetry: Any, *spans_s: tuple[float, float]) -> None:
    telemetry.do(
        "INSERT INTO gateway_reports VALUES (1, %s, %s, 0, 'x', %s)"
        " ON CONFLICT (gateway_id) DO UPDATE SET report = excluded.report",
        *(START, START, Jsonb({"backlog": {"spans": [[_us(first), _us(last)] for first, last in spans_s]}})),
    )


def _read(telemetry: Any, *, without: Iterable[float], to_s: int = 600, step_s: int = 10) -> None:
    """A meter that is read each `step_s`, but for some times."""
    meter_id, left_out = telemetry.meter(interval_s=step_s), set(without)
    telemetry.registers(meter_id, [(s, s) for s in range(0, to_s, step_s) if s not in left_out])


def _measure(telemetry: Any, *, whole: bool = False, to_s: float = 600) -> Meter:
    with psycopg.connect(telemetry.dsn, autocommit=True) as connection:
        [meter] = measure(connection, since=START, until=_at(to_s), whole=whole).meters
    return meter


def _parts(meter: Meter) -> list[Part]:
    return [
        (
            *((datetime.fromisoformat(str(gap[end])) - START).total_seconds() for end in ("from", "to")),
            int(gap["missing"]),
            str(gap["reason"]),
            str(gap["detail"]),
        )
        for gap in meter.gaps
    ]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("silent", "never_polled"),
        ("not_running", "never_polled"),
        ("thinned", "thinned"),
        ("overflowed", "thinned"),
        ("damaged", "thinned"),
        ("refused", "thinned"),
        ("reduced", "unknown"),
        ("corrected", "unknown"),
        ("overrun", "never_polled"),
    ],
)
def test_a_gap_has_the_reason_of_its_note(telemetry: Any, kind: str, reason: str) -> None:
    _read(telemetry, without=(50, 60, 70))
    _note(telemetry, kind, 50, 70)

    meter = _measure(telemetry)

    assert _parts(meter) == [(40, 80, 3, reason, "" if reason == "unknown" else kind)]
    assert {name: count for name, count in meter.reasons.items() if count} == {reason: 3}


def test_without_a_word_of_it_the_reason_is_unknown(telemetry: Any) -> None:
    _read(telemetry, without=(50,))
    _note(telemetry, "silent", 50, 50, device="d2")
    _note(telemetry, "silent", 80, 90)

    assert _parts(_measure(telemetry)) == [(40, 60, 1, "unknown", "")]


def test_a_gap_with_several_reasons_is_split_where_they_change(telemetry: Any) -> None:
    _read(telemetry, without=range(50, 210, 10))
    _note(telemetry, "silent", 50, 80)
    _note(telemetry, "not_running", 100, 130, device=None)
    _report(telemetry, (150, 180))

    meter = _measure(telemetry)

    assert _parts(meter) == [
        (40, 85, 4, "never_polled", "silent"),
        (85, 95, 1, "unknown", ""),
        (95, 135, 4, "never_polled", "not_running"),
        (135, 145, 1, "unknown", ""),
        (145, 185, 4, "in_gateway_buffer", ""),
        (185, 210, 2, "unknown", ""),
    ]
    assert (meter.missing, meter.gap_count, sum(meter.reasons.values())) == (16, 1, 16)


def test_of_several_reasons_for_one_reading_the_surest_counts(telemetry: Any) -> None:
    everything = range(50, 120, 10)
    _read(telemetry, without=everything)
    _report(telemetry, (50, 110))
    _note(telemetry, "overflowed", 60, 110)
    _note(telemetry, "thinned", 70, 110, device=None)
    _note(telemetry, "not_running", 80, 110, device=None)
    _note(telemetry, "silent", 90, 110)
    _quarantine(telemetry, "future", (100, 110))
    _quarantine(telemetry, "unknown_device", (110,))

    assert [part[2:] for part in _parts(_measure(telemetry))] == [
        (1, "in_gateway_buffer", ""),
        (1, "thinned", "overflowed"),
        (1, "thinned", "thinned"),
        (1, "never_polled", "not_running"),
        (1, "never_polled", "silent"),
        (1, "quarantined", "future"),
        (1, "quarantined", "unknown_device"),
    ]


def test_polls_left_out_explain_nothing_that_has_another_reason(telemetry: Any) -> None:
    """Between them others were made, whose readings may be on their way, or gone."""
    _read(telemetry, without=range(50, 110, 10))
    _note(telemetry, "overrun", 40, 110)
    _note(telemetry, "thinned", 60, 64)
    _report(telemetry, (80, 84))

    assert [part[2:] for part in _parts(_measure(telemetry))] == [
        (1, "never_polled", "overrun"),
        (1, "thinned", "thinned"),
        (1, "never_polled", "overrun"),
        (1, "in_gateway_buffer", ""),
        (2, "never_polled", "overrun"),
    ]


def test_what_waits_in_the_quarantine_explains_its_own_readings_and_no_others(telemetry: Any) -> None:
    """A block may reach over hours in which nothing else was read."""
    _read(telemetry, without=range(50, 110, 10))
    _quarantine(telemetry, "too_old", (50.4, 90.3))

    assert [part[2:4] for part in _parts(_measure(telemetry))] == [
        (1, "quarantined"),
        (3, "unknown"),
        (1, "quarantined"),
        (1, "unknown"),
    ]


def test_values_that_were_set_aside_do_not_explain_why_a_reading_is_missing(telemetry: Any) -> None:
    _read(telemetry, without=(50,))
    _quarantine(telemetry, "out_of_range", (40, 50))

    assert [part[3] for part in _parts(_measure(telemetry))] == ["unknown"]


def test_what_is_said_of_a_device_holds_for_its_channels(telemetry: Any) -> None:
    _read(telemetry, without=(50, 80))
    telemetry.do("UPDATE device_registry SET device = 'plug/2'")
    _note(telemetry, "silent", 50, 50, device="plug")
    _note(telemetry, "silent", 80, 80, device="plug/1")

    assert [part[3] for part in _parts(_measure(telemetry))] == ["never_polled", "unknown"]


def test_notes_of_single_readings_that_jitter_make_one_part(telemetry: Any) -> None:
    _read(telemetry, without=range(50, 110, 10))
    for at in (51, 58, 73, 79, 91, 98):
        _note(telemetry, "silent", at, at)

    assert _parts(_measure(telemetry)) == [(40, 110, 6, "never_polled", "silent")]


def test_a_later_report_says_what_is_still_at_the_gateway(telemetry: Any) -> None:
    _read(telemetry, without=(50, 60, 70))
    _report(telemetry, (0, 54), (66, 90))
    assert [part[2:4] for part in _parts(_measure(telemetry))] == [
        (1, "in_gateway_buffer"),
        (1, "unknown"),
        (1, "in_gateway_buffer"),
    ]

    _report(telemetry)

    assert [part[2:4] for part in _parts(_measure(telemetry))] == [(3, "unknown")]


def test_the_ends_of_a_window_have_reasons_too(telemetry: Any) -> None:
    _read(telemetry, without=[*range(0, 50, 10), *range(500, 600, 10)])
    _note(telemetry, "not_running", -10_000, 45, device=None)
    _report(telemetry, (500, 10_000))

    meter = _measure(telemetry, whole=True)

    assert _parts(meter) == [(0, 50, 5, "never_polled", "not_running"), (490, 600, 10, "in_gateway_buffer", "")]
    assert (meter.expected, meter.received, meter.missing) == (60, 45, 15)


def test_a_meter_that_was_never_read_has_its_reason(telemetry: Any) -> None:
    telemetry.meter(interval_s=10)
    _note(telemetry, "silent", 0, 299)

    meter = _measure(telemetry, whole=True)

    assert _parts(meter) == [(0, 304, 30, "never_polled", "silent"), (304, 600, 30, "unknown", "")]


def test_times_without_measure_are_no_obstacle(telemetry: Any) -> None:
    """E26, E27: one wild clock makes completeness fail for all."""
    _read(telemetry, without=(50,))
    _report(telemetry, (50, 50))
    telemetry.do(
        "UPDATE gateway_reports SET report = %s",
        json.dumps({"backlog": {"spans": [[-(2**62), -(2**61)], [_us(45), 2**62], [2**62, -(2**62)]]}}),
    )
    _quarantine(telemetry, "future", (80,))
    telemetry.do("UPDATE quarantine SET block = %s", json.dumps({"time_us": [-(2**62), _us(80), 2**62]}))
    telemetry.do(
        "INSERT INTO gateway_notes (gateway_id, batch_id, kind, first_time, last_time, readings, detail)"
        " VALUES (1, 1, 'thinned', '0001-01-01', '9999-12-31', 0, '')"
    )

    assert [part[2:4] for part in _parts(_measure(telemetry))] == [(1, "thinned")]


@pytest.mark.parametrize("whole", [False, True])
def test_the_reasons_add_up_to_what_is_missing(telemetry: Any, whole: bool) -> None:
    """Gaps of every length and reasons that begin anywhere: none is counted twice, none is left out."""
    left_out = [s for s in range(0, 7200, 10) if (s * 7919) % 97 < 40]
    _read(telemetry, without=left_out, to_s=7200)
    for kind, first, last in (("silent", 100, 1999), ("thinned", 1503, 3007), ("damaged", 6000.5, 6200.25)):
        _note(telemetry, kind, first, last)
    for at in range(2500, 4500, 37):
        _note(telemetry, "not_running", at, at + 11, device=None)
    _quarantine(telemetry, "future", range(4003, 5000, 10))
    _report(telemetry, (4800, 5333), (5500, 5501))

    meter = _measure(telemetry, whole=whole, to_s=7200)

    assert sum(meter.reasons.values()) == meter.missing
    assert all(meter.reasons.values())
    assert meter.expected - meter.received == pytest.approx(meter.missing, abs=2)


def test_the_command_gives_reasons(telemetry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer import Typer
    from typer.testing import CliRunner

    from cloud.completeness.cli import completeness

    _read(telemetry, without=(50, 60, 300))
    _note(telemetry, "silent", 50, 60)
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry.dsn)
    monkeypatch.setenv("COLUMNS", "200")
    app = Typer()
    app.command()(completeness)
    window = ["--from", "2026-03-01T12:00Z", "--to", "2026-03-01T12:10Z"]

    said = json.loads(CliRunner().invoke(app, [*window, "--json"]).stdout)
    shown = CliRunner().invoke(app, window).stdout

    assert {name: count for name, count in said["reasons"].items() if count} == {"never_polled": 2, "unknown": 1}
    assert [gap["reason"] for gap in said["meters"][0]["gaps"]] == ["never_polled", "unknown"]
    assert "2 missing  never_polled: silent" in shown
    assert "missing by reason: never_polled 2, unknown 1" in shown
