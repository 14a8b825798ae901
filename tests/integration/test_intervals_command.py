"""`segs-cloud intervals` on real loads: a year of reads in disorder, and a house of 26 days."""

import csv
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud.cli import app

_SHARED = Path(__file__).parents[3] / "shared" / "data"
_YEAR = _SHARED / "tariffs" / "case1_res_tou_tier_hourly"
_HOUSE = _SHARED / "loads" / "uci_household_1min_26d.csv"


@pytest.fixture
def intervals(telemetry_db: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SEGS_TELEMETRY_DSN", telemetry_db)

    def run(reads: Path, *arguments: str) -> list[dict[str, Any]]:
        result = CliRunner().invoke(app, ["intervals", "--reads", str(reads), "--json", *arguments])
        assert result.exit_code == 0, result.output
        found: list[dict[str, Any]] = json.loads(result.stdout)
        return found

    return run


def _file(tmp_path: Path, reads: list[tuple[datetime, str, int]], header: str = "import_register_wh") -> Path:
    path = tmp_path / "reads.csv"
    rows = (f"{at.isoformat()},{serial},{value}\n" for at, serial, value in reads)
    path.write_text(f"read_at_utc,meter_serial,{header}\n" + "".join(rows))
    return path


@pytest.mark.skipif(not _YEAR.is_dir(), reason="the folder of shared data is not there")
def test_a_year_of_reads_in_disorder_with_a_rollover_and_an_exchange_gives_exactly_its_load(intervals: Any) -> None:
    """10,562 reads, 300 of them twice, shuffled."""
    found = intervals(_YEAR / "register_reads.csv", "--resolution", "1h", "--rollover-wh", "10000000")
    with (_YEAR / "load_wh.csv").open() as file:
        expected = [(row["interval_start_utc"], int(row["import_wh"])) for row in csv.DictReader(file)]
    assert [(one["start"], one["import_wh"]) for one in found] == expected
    assert {(one["export_wh"], one["quality"], one["coverage"]) for one in found} == {(None, 14, 100)}


@pytest.mark.skipif(not _HOUSE.is_file(), reason="the folder of shared data is not there")
def test_a_real_house_gives_its_total_its_days_and_its_peak(intervals: Any, tmp_path: Path) -> None:
    """The mean power of each minute becomes a read at the minute's end; minutes that are missing moved nothing."""
    reads: dict[datetime, Decimal] = {}
    total_wh = Decimal(0)
    with _HOUSE.open() as file:
        for row in csv.DictReader(file, delimiter=";"):
            at = datetime.strptime(f"{row['Date']} {row['Time']}", "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
            reads.setdefault(at, total_wh)
            total_wh += Decimal(row["Global_active_power"]) * 1000 / 60
            reads[at + timedelta(minutes=1)] = total_wh
    expected = json.loads(_HOUSE.with_suffix("").with_suffix(".expected.json").read_text())

    found = intervals(_file(tmp_path, [(at, "A", round(wh)) for at, wh in reads.items()]))

    days: defaultdict[str, int] = defaultdict(int)
    for one in found:
        days[one["start"][:10]] += one["import_wh"]
    assert abs(sum(days.values()) - Decimal(expected["total_kwh"]) * 1000) <= 1
    assert days.keys() == expected["daily_kwh"].keys()
    for day, kwh in expected["daily_kwh"].items():
        assert abs(days[day] - Decimal(kwh) * 1000) <= 1, day
    peak = max(found, key=lambda one: one["import_wh"])
    assert peak["start"] == expected["max_15min_start"].replace(" ", "T") + "Z"
    assert abs(peak["import_wh"] * 4 - Decimal(expected["max_15min_mean_kw"]) * 1000) <= 4
    whole = {one["start"] for one in found if one["coverage"] == 100}
    broken = {start.replace(" ", "T") + "Z" for start, _ in expected["incomplete_15min"]}
    assert broken.isdisjoint(whole)
    assert len(found) - len(whole) == len(broken)


def test_a_missing_boundary_read_is_interpolated_and_both_neighbours_are_flagged(
    intervals: Any, tmp_path: Path
) -> None:
    hour = datetime(2026, 3, 1, 12, tzinfo=UTC)
    minutes = [0, 15, 30, 45, 60, 75, 90, 105, 135, 150, 165, 180, 195]
    reads = [
        (hour + timedelta(minutes=minute), "A", 100 * minute) for minute in minutes if minute not in (105, 120, 135)
    ]
    found = intervals(_file(tmp_path, reads), "--resolution", "1h")
    assert [(one["import_wh"], one["quality"]) for one in found] == [(6000, 14), (6000, 9), (6000, 9), (1500, 14)]


def test_both_registers_are_computed_where_both_were_read(intervals: Any, tmp_path: Path) -> None:
    path = tmp_path / "reads.csv"
    path.write_text(
        "read_at_utc,meter_serial,import_register_wh,export_register_wh\n"
        "2026-03-01T12:00:00Z,A,1000,50\n2026-03-01T12:15:00Z,A,1200,50\n2026-03-01T12:30:00Z,A,1200,80\n"
    )
    found = intervals(path)
    assert [(one["import_wh"], one["export_wh"]) for one in found] == [(200, 0), (0, 30)]


def test_a_read_of_a_clock_without_battery_costs_no_other(intervals: Any, tmp_path: Path) -> None:
    """E15: two reads in three days, and one of a clock that began anew. It has no neighbour within a week."""
    days = [datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)]
    found = intervals(_file(tmp_path, [(at, "A", 100 * n) for n, at in enumerate(days)]), "--resolution", "1h")
    assert sum(one["import_wh"] or 0 for one in found if one["start"] >= "2026-03-01") == 100


def test_serial_numbers_may_be_in_any_encoding_and_what_is_no_text_is_refused(intervals: Any, tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    text = "read_at_utc,meter_serial,import_register_wh\r\n2026-03-01T12:00Z,Zähler,5\r\n2026-03-01T12:15Z,Zähler,9\r\n"
    path.write_bytes(text.encode("latin-1"))
    assert [one["import_wh"] for one in intervals(path)] == [4]
    path.write_bytes(text.encode("utf-16"))
    result = CliRunner().invoke(app, ["intervals", "--reads", str(path)])
    assert str(result.exception).startswith("row 1: the columns are")


def test_a_file_that_cannot_be_read_is_refused_in_one_line(telemetry_db: str, tmp_path: Path) -> None:
    path = _file(tmp_path, [(datetime(2026, 3, 1, tzinfo=UTC), "A", -1)])
    result = CliRunner().invoke(app, ["intervals", "--reads", str(path)], env={"SEGS_TELEMETRY_DSN": telemetry_db})
    assert result.exit_code == 1
    assert str(result.exception).startswith("row 2: import_register_wh '-1'")
