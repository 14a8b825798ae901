"""A file of cumulative reads: any order, repetitions, an exchange; and what is wrong with it, by row."""

from datetime import timedelta

import pytest

from cloud.intervals.reads import parse
from cloud.table_file import RowError

_HEADER = "read_at_utc,meter_serial,import_register_wh"


def _file(*rows: str, header: str = _HEADER) -> list[str]:
    return [f"{row}\n" for row in (header, *rows)]


def test_reads_are_sorted_and_repetitions_count_once() -> None:
    found = parse(_file("2026-03-01T13:00:00Z,A,20", "2026-03-01T12:00:00Z,A,10", "2026-03-01T14:00:00+01:00,A,20"))
    assert [(read.at.hour, read.import_wh, read.export_wh) for read in found.reads] == [(12, 10, None), (13, 20, None)]
    assert found.exchanges == []
    assert found.interval == timedelta(hours=1)


def test_an_exchange_with_both_reads_at_one_instant_keeps_the_final_one_apart() -> None:
    found = parse(
        _file(
            "2026-03-01T12:00:00Z,A,10",
            "2026-03-01T13:00:00Z,B,3",
            "2026-03-01T13:00:00Z,A,20",
            "2026-03-01T14:00:00Z,B,9",
        )
    )
    [exchange] = found.exchanges
    assert (exchange.final and exchange.final.import_wh, exchange.first.import_wh) == (20, 3)
    assert [read.import_wh for read in found.reads] == [10, 3, 9]


def test_an_exchange_without_a_final_read_says_so() -> None:
    found = parse(_file("2026-03-01T12:00:00Z,A,10", "2026-03-01T13:00:00Z,B,3"))
    assert [exchange.final for exchange in found.exchanges] == [None]


@pytest.mark.parametrize(
    ("rows", "row", "says"),
    [
        (["2026-03-01T12:00:00Z,A,ten"], 2, "import_register_wh 'ten'; give whole watt-hours"),
        (["2026-03-01T12:00:00Z,A,1.5"], 2, "import_register_wh '1.5'"),
        (["2026-03-01T12:00:00Z,A,-3"], 2, "import_register_wh '-3'"),
        (["2026-03-01T12:00:00Z,A,10000000000001"], 2, "0 to 10000000000000"),
        (["2026-03-01T12:00:00Z,A,1", "yesterday,A,2"], 3, "read_at_utc 'yesterday'; give a time such as"),
        (["2026-03-01T12:00:00Z,A"], 2, "another number of fields; the header has 3"),
        (["2026-03-01T12:00:00Z,A,1,2"], 2, "another number of fields"),
        (["2026-03-01T12:00:00Z,A,1", "2026-03-01T12:00:00Z,A,2"], 3, "in row 2; a register has one value at a time"),
        (
            ["2026-03-01T12:00:00Z,A,1", "2026-03-01T13:00:00Z,B,2", "2026-03-01T14:00:00Z,A,3"],
            4,
            "a read of A at 2026-03-01T14:00:00+00:00, after B had replaced it",
        ),
        ([], 2, "there is no read; give at least one"),
        (["0001-01-01T00:00:00+14:00,A,1"], 2, "take out what a wrong clock stamped; years are 1970 to 2100"),
        (["2026-03-01T12:00:00Z,A,1", "9999-12-31T23:59:00-14:00,A,1"], 3, "a wrong clock"),
        (["2026-03-01T12:00:00Z,A,1", '"2026-03-01T13:00:00Z,A,1'], 3, "unexpected end of data"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(rows: list[str], row: int, says: str) -> None:
    with pytest.raises(RowError) as raised:
        parse(_file(*rows))
    assert raised.value.row == row
    assert says in str(raised.value)


def test_another_header_is_refused_with_the_one_that_is_wanted() -> None:
    with pytest.raises(RowError, match=r"row 1: the columns are 'time,wh'; they must be read_at_utc,meter_serial"):
        parse(_file(header="time,wh"))


def test_a_column_that_comes_twice_is_refused() -> None:
    with pytest.raises(RowError, match="row 1: the columns are"):
        parse(_file("2026-03-01T12:00:00Z,A,1,2", header=f"{_HEADER},import_register_wh"))
