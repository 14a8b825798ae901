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


@pytest.mark.long
@pytest.mark.skipif(not _YEAR.is_dir(), reason="the folder of shared data is not there")
def test_a_year_of_reads_in_disorder_with_a_rollover_and_an_exchange_gives_exactly_its_load(intervals: Any) -> None:
    """10,562 reads, 300 of them twice, shuffled."""
    found = intervals(_YEAR / "register_reads.csv", "--resolution", "1h", "--rollover-wh", "10000000")
    with (_YEAR / "load_wh.csv").open() as file:
        expected = [(row["interval_start_utc"], int(row["import_wh"])) for row in csv.DictReader(file)]
    assert [(one["start"], one["import_wh"]) for one in found] == expected
    assert {(one["export_wh"], one["quality"], one["coverage"]) for one in found} == {(None, 14, 100)}


@pytest.mark.long
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


def _said(path: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["intervals", "--reads", str(path), *arguments])
    return done.exit_code, done.stdout, done.stderr or str(done.exception)


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def test_what_an_old_meter_moved_by_before_an_exchange_without_a_final_read_is_unknown(
    intervals: Any, tmp_path: Path
) -> None:
    """C7: 0 Wh of the best quality is a bill for nothing."""
    old = [(_at(n), "A", 1000 + n) for n in (0, 15, 30)]
    path = _file(tmp_path, [*old, *((_at(n), "B", n) for n in (60, 75, 90))])
    found = [(one["start"][11:16], one["import_wh"], one["quality"], one["coverage"]) for one in intervals(path)]
    assert found[:3] == [("12:00", 15, 14, 100), ("12:15", 15, 14, 100), ("12:30", None, 10, 0)]
    assert found[3] == ("12:45", None, 10, 0)
    assert [(start, wh) for start, wh, *_ in found[4:]] == [("13:00", 15), ("13:15", 15)]
    hours = [(one["import_wh"], one["quality"], one["coverage"]) for one in intervals(path, "--resolution", "1h")]
    assert hours[0] == (30, 10, 50)


def test_what_is_known_of_an_interval_in_which_the_old_meter_was_read_last_is_flagged(
    intervals: Any, tmp_path: Path
) -> None:
    reads = [(_at(n), "A", 1000 + n) for n in (0, 5, 10, 15, 20)] + [(_at(n), "B", n) for n in (45, 50, 55, 60)]
    found = {one["start"][11:16]: (one["import_wh"], one["quality"]) for one in intervals(_file(tmp_path, reads))}
    assert (found["12:00"], found["12:15"]) == ((15, 14), (5, 10))


def test_with_a_final_read_nothing_is_unknown_and_each_register_has_its_own(intervals: Any, tmp_path: Path) -> None:
    path = tmp_path / "reads.csv"
    path.write_text(
        "read_at_utc,meter_serial,import_register_wh,export_register_wh\n"
        "2026-03-01T12:00Z,A,1000,50\n2026-03-01T12:15Z,A,1010,60\n2026-03-01T12:30Z,A,1030,\n"
        "2026-03-01T12:30Z,B,0,0\n2026-03-01T12:45Z,B,7,1\n"
    )
    found = [(one["start"][11:16], one["import_wh"], one["export_wh"]) for one in intervals(path)]
    assert found == [("12:00", 10, 10), ("12:15", 20, None), ("12:30", 7, 1)]
    assert intervals(path)[1]["quality"] == 10


def test_energy_of_a_gap_of_more_than_a_week_is_unknown(intervals: Any, tmp_path: Path) -> None:
    reads = [(_at(n), "A", n) for n in (0, 15)] + [(_at(15) + timedelta(days=n), "A", 1000 * n) for n in (8, 9)]
    found = intervals(_file(tmp_path, reads))
    assert [(one["import_wh"], one["quality"]) for one in found[:2]] == [(15, 14), (None, 10)]
    assert sum(one["import_wh"] or 0 for one in found) == 1015


@pytest.mark.parametrize("rollover", [1500, 1200])
def test_a_register_that_was_read_beyond_where_it_wraps_is_refused_by_its_row(
    intervals: Any, tmp_path: Path, rollover: int
) -> None:
    path = _file(tmp_path, [(_at(0), "A", 1000), (_at(15), "A", 1500), (_at(30), "A", 20)])
    status, _, said = _said(path, "--rollover-wh", str(rollover))
    assert status == 1
    assert said.startswith(f"row 3: import_register_wh 1500 is not below --rollover-wh {rollover}; ")
    assert [one["import_wh"] for one in intervals(path, "--rollover-wh", "1501", "--max-power-w", "9e9")] == [500, 21]


def test_a_single_read_is_told_to_have_no_energy(telemetry_db: str, tmp_path: Path, intervals: Any) -> None:
    """An empty table says nothing, and a read in the middle of an interval is not 0 Wh of it."""
    for minute in (0, 7):
        path = _file(tmp_path, [(_at(minute), "A", 1000)])
        status, shown, said = _said(path)
        assert (status, shown) == (0, "")
        assert said == (
            f"row 2 is the only read, of 2026-03-01T12:{minute:02}:00Z: energy is what a register moves by between "
            "two; add another.\n"
        )
        assert intervals(path) == []


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", {"2026-03-28T00:00:00Z": 24, "2026-03-29T00:00:00Z": 24, "2026-03-30T00:00:00Z": 24}),
        (
            "Europe/Berlin",
            {
                "2026-03-27T23:00:00Z": 23,
                # Clocks go forward.
                "2026-03-28T23:00:00Z": 23,
                "2026-03-29T22:00:00Z": 24,
                "2026-03-30T22:00:00Z": 2,
            },
        ),
        (
            "Asia/Kathmandu",
            {
                "2026-03-27T18:15:00Z": 18.25,
                "2026-03-28T18:15:00Z": 24,
                "2026-03-29T18:15:00Z": 24,
                "2026-03-30T18:15:00Z": 5.75,
            },
        ),
    ],
)
def test_days_are_those_of_the_zone_and_add_up(
    intervals: Any, tmp_path: Path, zone: str, days: dict[str, float]
) -> None:
    """D5: a register that moves by 16 Wh an hour for three days."""
    first = datetime(2026, 3, 28, tzinfo=UTC)
    path = _file(tmp_path, [(first + timedelta(minutes=15 * n), "A", 4 * n) for n in range(3 * 96 + 1)])
    found = intervals(path, "--resolution", "1d", "--zone", zone)
    assert {one["start"]: one["import_wh"] / 16 for one in found} == days
    if zone == "Europe/Berlin":
        assert [round(one["coverage"]) for one in found] == [96, 100, 100, 8]


def test_months_are_whole_and_partly_covered(intervals: Any, tmp_path: Path) -> None:
    reads = [(datetime(2026, 3, 31, 12, tzinfo=UTC) + timedelta(hours=n), "A", 100 * n) for n in range(25)]
    found = intervals(_file(tmp_path, reads), "--resolution", "1mo", "--zone", "Europe/Berlin")
    assert [(one["start"], one["import_wh"]) for one in found] == [
        ("2026-02-28T23:00:00Z", 1000),
        ("2026-03-31T22:00:00Z", 1400),
    ]
    assert [one["coverage"] for one in found] == pytest.approx([100 * 10 / 743, 100 * 14 / 720], abs=0.01)


def test_days_for_people_have_their_zone_s_dates(telemetry_db: str, intervals: Any, tmp_path: Path) -> None:
    path = _file(tmp_path, [(_at(15 * n), "A", 4 * n) for n in range(97)])
    lines = _said(path, "--resolution", "1d", "--zone", "Europe/Berlin")[1].splitlines()
    assert lines[1].startswith("start, Europe/Berlin  import, Wh")
    assert [line.split()[:3] for line in lines[2:]] == [["2026-03-01", "00:00", "176"], ["2026-03-02", "00:00", "208"]]
    heading = _said(path)[1].splitlines()[1]
    assert heading.split("  ")[0] == "start, UTC"
    assert heading.split()[2:] == ["import,", "Wh", "export,", "Wh", "quality", "coverage,", "%"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resolution", "1d", "--zone", "Mars/Olympus"), "'Mars/Olympus' is no time zone; give an IANA name"),
        (("--resolution", "1d", "--zone", "../passwd"), "'../passwd' is no time zone"),
        (("--resolution", "1h", "--zone", "Europe/Berlin"), "--zone is for 1d and 1mo"),
        (("--resolution", "5m"), "'5m' is not one of"),
        (("--rollover-wh", "0"), "'0' is no number of Wh; give a whole one, 1 to"),
        (("--max-power-w", "nan"), "'nan' is no power"),
        (("--max-power-w", "-1"), "'-1' is no power"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    telemetry_db: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    status, shown, why = _said(_file(tmp_path, [(_at(0), "A", 1), (_at(15), "A", 2)]), *arguments)
    assert (status, shown) == (2, "")
    assert said in why
