"""CSV that every program reads alike, and none computes."""

import csv
import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.exports.comma_separated import HEADING, comma_separated, text_cell
from cloud.exports.row import Row
from tests.unit.exports.rows import BEGIN, QUARTER, Source, quarter, quarters, rows, whole


async def test_lines_end_as_the_standard_says_and_what_is_not_known_is_empty() -> None:
    """RFC 4180, 2: CRLF, a heading, as many fields in each line."""
    told = quarter(BEGIN, 0, 5, power_mean_w=-1.5, quality=9, coverage_percent=50.0, version=3)

    text = (await whole(comma_separated(rows([told, quarter(BEGIN + QUARTER, None)])))).decode()

    assert text.split("\r\n") == [
        "meter,start,end,import_wh,export_wh,power_mean_w,power_min_w,power_max_w,coverage_percent,quality,version",
        "MTR-00000001,2026-03-28T23:00:00Z,2026-03-28T23:15:00Z,0,5,-1.5,,,50.0,9,3",
        "MTR-00000001,2026-03-28T23:15:00Z,2026-03-28T23:30:00Z,,,,,,,,",
        "",
    ]
    assert text.count("\n") == text.count("\r")


async def test_an_export_without_rows_has_its_heading() -> None:
    assert await whole(comma_separated(rows([]))) == (",".join(HEADING) + "\r\n").encode()


async def test_the_hour_that_comes_twice_is_two_hours() -> None:
    """D16: times shift in the user's zone."""
    begin = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    text = await whole(comma_separated(rows(quarters(8, begin)), zone=ZoneInfo("Europe/Berlin")))
    starts = [line["start"] for line in csv.DictReader(io.StringIO(text.decode(), newline=""))]

    assert starts[0] == "2026-10-25T02:00:00+02:00"
    assert starts[4] == "2026-10-25T02:00:00+01:00"
    assert [datetime.fromisoformat(start) for start in starts] == [begin + i * QUARTER for i in range(8)]


async def test_a_million_rows_are_sent_while_they_are_read() -> None:
    source = Source(quarters(100_000))
    ahead, size, sent = 0, 0, 0
    async for part in comma_separated(source.__aiter__()):
        size = max(size, len(part))
        ahead = max(ahead, source.taken - sent)
        sent += part.count(b"\n")

    assert sent == 100_001
    assert size < 70_000
    assert ahead < 2000


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://evil.example","x")',
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u00a0=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        "|calc",
        "%0A",
        "\0=1",
        "=\0",
    ],
)
async def test_a_text_that_would_be_computed_is_shown(text: str) -> None:
    row = Row(meter=text, start=BEGIN, end=BEGIN + QUARTER, import_wh=1, export_wh=None)
    made = (await whole(comma_separated(rows([row])))).decode()
    [_, line] = csv.reader(io.StringIO(made, newline=""), strict=True)

    assert line[0] == "'" + text.replace("\0", "")
    assert line[3] == "1"


@given(st.text())
async def test_any_text_is_one_cell(text: str) -> None:
    row = Row(meter=text, start=BEGIN, end=BEGIN + QUARTER, import_wh=1, export_wh=None)
    made = (await whole(comma_separated(rows([row, quarter(BEGIN)])))).decode()
    lines = list(csv.reader(io.StringIO(made, newline=""), strict=True))

    assert [len(line) for line in lines] == [len(HEADING)] * 3
    assert lines[1][0].removeprefix("'") == text.replace("\0", "").removeprefix("'")


@pytest.mark.parametrize("text", ["MTR-00000001", "Haus 1, hinten", 'Zähler "A"', "", "1-2", "a=b"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert text_cell(text) == text


async def test_what_fails_on_the_way_fails_here() -> None:
    async def broken():  # type: ignore[no-untyped-def]
        yield quarter(BEGIN)
        raise ConnectionError("the database is gone")

    with pytest.raises(ConnectionError):
        await whole(comma_separated(broken()))


async def test_months_are_told_by_their_local_midnights() -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin, end = datetime(2026, 3, 1, tzinfo=zone).astimezone(UTC), datetime(2026, 4, 1, tzinfo=zone).astimezone(UTC)
    row = Row(meter="M", start=begin, end=end, import_wh=1, export_wh=None)

    text = (await whole(comma_separated(rows([row]), zone=zone))).decode()

    assert "M,2026-03-01T00:00:00+01:00,2026-04-01T00:00:00+02:00,1," in text
    assert end - begin == timedelta(days=31, hours=-1)
