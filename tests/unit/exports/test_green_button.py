"""Green Button: read by a parser that others wrote, held to the order and types of ESPI's schema, and to totals."""

import io
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from greenbutton_objects.parse import parse_feed

from cloud.exports.green_button import Feed, green_button
from cloud.exports.row import Row
from tests.unit.exports.rows import BEGIN, QUARTER, Source, quarter, quarters, rows, whole

ESPI, ATOM = "{http://naesb.org/espi}", "{http://www.w3.org/2005/Atom}"
GREEN_BUTTON = Path(__file__).parents[4] / "shared/data/greenbutton"
BERLIN = ZoneInfo("Europe/Berlin")


def feed(**changes: Any) -> Feed:
    given: dict[str, Any] = {
        "meter": "MTR-00000001",
        "title": "Haus am See",
        "customer": "17",
        "zone": BERLIN,
        "first": BEGIN,
        "last": BEGIN + timedelta(days=7),
        "resolution": "15m",
        "updated": datetime(2026, 11, 28, 8, 8, tzinfo=UTC),
    }
    return Feed(**given | changes)


async def made(told: Iterable[Row], **changes: Any) -> bytes:
    return await whole(green_button(rows(told), feed(**changes)))


def readings(document: bytes) -> dict[str, list[Any]]:
    """What the other parser finds: by direction, readings in order of time."""
    [point] = parse_feed(io.BytesIO(document))
    assert point.serviceCategory.name == "electricity"
    return {reading.readingType.flowDirection.name: list(reading.intervalReadings) for reading in point.meterReadings}


def blocks(document: bytes) -> list[tuple[datetime, timedelta, int]]:
    """Start, duration and number of readings of each block."""
    return [
        (
            datetime.fromtimestamp(int(block.findtext(f"{ESPI}interval/{ESPI}start") or 0), UTC),
            timedelta(seconds=int(block.findtext(f"{ESPI}interval/{ESPI}duration") or 0)),
            len(block.findall(f"{ESPI}IntervalReading")),
        )
        for block in ElementTree.fromstring(document).iter(f"{ESPI}IntervalBlock")
    ]


async def test_another_parser_reads_both_directions() -> None:
    told = [quarter(BEGIN + i * QUARTER, 100 + i, i, quality=(14, 9, 8, 7, 10)[i % 5]) for i in range(200)]
    document = await made(told)
    found = readings(document)

    assert set(found) == {"forward", "reverse"}
    for direction, energy in (("forward", "import_wh"), ("reverse", "export_wh")):
        assert [
            (one.timePeriod.start, one.timePeriod.duration, one._value, [q.quality.value for q in one.readingQualities])
            for one in found[direction]
        ] == [(row.start, row.end - row.start, getattr(row, energy), [row.quality]) for row in told]
    assert {(one.value_units.name, one.value == one._value) for one in found["forward"]} == {("wattHours", True)}


async def test_energy_is_watt_hours_of_an_interval() -> None:
    root = ElementTree.fromstring(await made(quarters(4)))
    [kind] = root.iter(f"{ESPI}ReadingType")

    assert {child.tag.removeprefix(ESPI): child.text for child in kind} == {
        "accumulationBehaviour": "4",
        "commodity": "1",
        "dataQualifier": "12",
        "flowDirection": "1",
        "intervalLength": "900",
        "kind": "12",
        "phase": "0",
        "powerOfTenMultiplier": "0",
        "timeAttribute": "0",
        "uom": "72",
        "measuringPeriod": "2",
    }


async def test_blocks_are_local_days_of_23_24_and_25_hours() -> None:
    spring = blocks(await made(quarters(92 + 96)))
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)
    autumn = blocks(await made(quarters(100 + 1, begin), first=begin, last=begin + timedelta(days=7)))

    assert spring == [(BEGIN, timedelta(hours=23), 92), (BEGIN + timedelta(hours=23), timedelta(hours=24), 96)]
    assert autumn == [(begin, timedelta(hours=25), 100), (begin + timedelta(hours=25), timedelta(hours=24), 1)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/Havana", (2020, 11, 1), 25),
        ("America/Santiago", (2026, 9, 6), 23),
        ("Asia/Kathmandu", (2026, 3, 29), 24),
    ],
)
async def test_a_midnight_that_comes_twice_or_not_at_all_ends_a_day(
    zone: str, day: tuple[int, int, int], hours: int
) -> None:
    local = ZoneInfo(zone)
    noon = datetime(*day, 12, tzinfo=local).astimezone(UTC)
    begin = noon - timedelta(days=1)
    found = blocks(await made(quarters(96 * 2, begin), zone=local, first=begin, last=begin + timedelta(days=2)))

    assert len(found) == 3
    assert found[1][1:] == (timedelta(hours=hours), hours * 4)
    assert all(start + length == after[0] for (start, length, _), after in pairwise(found))


async def test_a_block_is_no_longer_than_what_is_exported() -> None:
    first = BEGIN + timedelta(hours=5)
    found = blocks(await made(quarters(8, first), first=first, last=first + timedelta(hours=3)))

    assert found == [(first, timedelta(hours=3), 8)]


async def test_hours_that_reach_over_midnight_stay_whole() -> None:
    """Hours are those of UTC; in Kolkata midnight is in the middle of one."""
    begin, hour = datetime(2026, 3, 28, 17, tzinfo=UTC), timedelta(hours=1)
    told = [replace(quarter(begin + i * hour), end=begin + (i + 1) * hour) for i in range(4)]
    document = await made(told, resolution="1h", zone=ZoneInfo("Asia/Kolkata"), first=begin, last=begin + 4 * hour)

    assert blocks(document) == [(begin, 2 * hour, 2), (begin + 2 * hour, 2 * hour, 2)]


@pytest.mark.parametrize(("resolution", "attribute", "period"), [("1d", "11", "4"), ("1mo", "13", "0")])
async def test_intervals_that_differ_in_length_claim_none(resolution: str, attribute: str, period: str) -> None:
    day = Row(meter="MTR-00000001", start=BEGIN, end=BEGIN + timedelta(hours=23), import_wh=5, export_wh=None)
    document = await made([day], resolution=resolution)
    [kind] = ElementTree.fromstring(document).iter(f"{ESPI}ReadingType")

    assert kind.find(f"{ESPI}intervalLength") is None
    assert (kind.findtext(f"{ESPI}timeAttribute"), kind.findtext(f"{ESPI}measuringPeriod")) == (attribute, period)
    assert blocks(document) == [(BEGIN, timedelta(hours=23), 1)]


async def test_what_is_not_known_has_no_reading_and_zero_has_one() -> None:
    told = [quarter(BEGIN, 0), quarter(BEGIN + QUARTER, None), quarter(BEGIN + 3 * QUARTER, 5, quality=0)]
    document = await made(told)

    assert [one._value for one in readings(document)["forward"]] == [0, 5]
    assert re.findall(rb"<quality>(\d+)</quality>", document) == [b"14", b"0"]
    assert b"export" not in document


async def test_an_export_without_rows_is_a_feed_without_readings() -> None:
    document = await made([])

    assert parse_feed(io.BytesIO(document))[0].meterReadings == set()
    assert blocks(document) == []


async def test_everything_is_in_the_order_and_of_the_types_that_the_schema_wants() -> None:
    """REQ.21 3.3, usage.xsd: the sequences of what is written here; RFC 4287 for the feed."""
    order = {
        "UsagePoint": ["ServiceCategory"],
        "ServiceCategory": ["kind"],
        "LocalTimeParameters": ["dstEndRule", "dstOffset", "dstStartRule", "tzOffset"],
        "MeterReading": [],
        "ReadingType": [
            *(
                "accumulationBehaviour",
                "commodity",
                "dataQualifier",
                "flowDirection",
                "intervalLength",
                "kind",
                "phase",
            ),
            *("powerOfTenMultiplier", "timeAttribute", "uom", "measuringPeriod"),
        ],
        "IntervalBlock": ["interval", "IntervalReading"],
        "IntervalReading": ["ReadingQuality", "timePeriod", "value"],
        "ReadingQuality": ["quality"],
        "interval": ["duration", "start"],
        "timePeriod": ["duration", "start"],
    }
    root = ElementTree.fromstring(await made([quarter(BEGIN + i * QUARTER, i, i) for i in range(200)]))
    found = Counter()
    for element in root.iter():
        name = element.tag.removeprefix(ESPI)
        if name in order:
            found[name] += 1
            children = [child.tag.removeprefix(ESPI) for child in element]
            assert [child for i, child in enumerate(children) if child not in children[:i]] == order[name]
        elif element.tag.startswith(ESPI):
            assert re.fullmatch(r"-?\d+|[0-9A-F]{8}", element.text or "")
    assert set(found) == set(order)

    ids = [element.text for element in root.iter(f"{ATOM}id")]
    assert len(set(ids)) == len(ids)
    for entry in root.findall(f"{ATOM}entry"):
        assert {child.tag.removeprefix(ATOM) for child in entry} == {
            "id",
            "link",
            "title",
            "content",
            "published",
            "updated",
        }


async def test_every_entry_is_reached_from_the_usage_point() -> None:
    root = ElementTree.fromstring(await made([quarter(BEGIN + i * QUARTER, i, i) for i in range(200)]))
    links = [
        {
            rel: [link.get("href") for link in entry.findall(f"{ATOM}link") if link.get("rel") == rel]
            for rel in ("self", "up", "related")
        }
        for entry in root.findall(f"{ATOM}entry")
    ]
    related = {href for entry in links for href in entry["related"]}

    reached = [entry["self"][0] in related or entry["up"][0] in related for entry in links[1:]]
    assert len(links) == 2 + 2 * 2 + 2 * 3
    assert all(reached)
    assert {entry["self"][0] for entry in links} >= {href for href in related if "ReadingType" in href}


async def test_the_same_resource_has_the_same_id_in_every_export() -> None:
    one = ElementTree.fromstring(await made(quarters(100)))
    two = ElementTree.fromstring(await made(quarters(100), updated=datetime(2027, 1, 1, tzinfo=UTC)))

    assert [e.text for e in one.iter(f"{ATOM}id")] == [e.text for e in two.iter(f"{ATOM}id")]


@pytest.mark.parametrize("title", ["<b>&\"'", "]]>", "Süd\u0001\ud800\uffff", "\U0001f50c", ""])
async def test_any_title_is_text(title: str) -> None:
    document = await made(quarters(1), title=title, meter="MTR-00000001", customer='"><x/>')
    found = ElementTree.fromstring(document).findtext(f"{ATOM}title")

    assert found == re.sub("[\u0001\ud800\uffff]", "\N{REPLACEMENT CHARACTER}", title)


async def test_a_year_is_sent_day_by_day() -> None:
    source = Source(quarters(96 * 365))
    began, parts, ahead = time.process_time(), 0, 0
    sent = 0
    async for part in green_button(source.__aiter__(), feed(last=BEGIN + timedelta(days=366))):
        parts += 1
        sent += part.count(b"<IntervalReading>")
        ahead = max(ahead, source.taken - sent)

    assert parts == 367 + 1
    assert ahead <= 101
    assert sent == 96 * 365
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([replace(quarter(BEGIN), meter="MTR-00000002")], "in the feed of MTR-00000001"),
        ([quarter(BEGIN + QUARTER), quarter(BEGIN)], "after one up to"),
        ([quarter(BEGIN), quarter(BEGIN)], "after one up to"),
    ],
)
async def test_rows_of_another_meter_or_out_of_order_are_refused(told: list[Row], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        await made(told)


@pytest.mark.skipif(not GREEN_BUTTON.exists(), reason=f"{GREEN_BUTTON} is not there")
@pytest.mark.parametrize("name", ["openespi_test_usage_data_14days.xml", "openespi_day11_dst_spring_forward.xml"])
async def test_what_a_utility_wrote_is_written_the_same_again(name: str) -> None:
    """The readings, the blocks of days with the one of 23 hours, the rules of New York's clocks, and the total."""
    theirs = (GREEN_BUTTON / name).read_bytes()
    root = ElementTree.fromstring(theirs)
    told = sorted(
        (
            Row(
                meter="MTR-00000001",
                start=(start := datetime.fromtimestamp(int(one.findtext(f"{ESPI}timePeriod/{ESPI}start") or 0), UTC)),
                end=start + timedelta(seconds=int(one.findtext(f"{ESPI}timePeriod/{ESPI}duration") or 0)),
                import_wh=int(one.findtext(f"{ESPI}value") or 0),
                export_wh=None,
                quality=14,
            )
            for one in root.iter(f"{ESPI}IntervalReading")
        ),
        key=lambda row: row.start,
    )
    zone = ZoneInfo("America/New_York")
    ours = await made(told, zone=zone, first=told[0].start, last=told[-1].end)

    assert blocks(ours) == sorted(blocks(theirs))
    found = [(one.timePeriod.start, one._value) for one in readings(ours)["forward"]]
    assert found == [(row.start, row.import_wh) for row in told]
    rules = [
        {
            child.tag: child.text
            for child in ElementTree.fromstring(document).find(f".//{ESPI}LocalTimeParameters") or ()
        }
        for document in (theirs, ours)
    ]
    assert rules[0] == rules[1]
    total = sum(value for _, value in found)
    if "day11" in name:
        assert (len(found), total) == (92, 109_403)
    else:
        period = [value for start, value in found if 1330578000 <= start.timestamp() < 1330578000 + 1119600]
        assert sum(period) == 1_298_640
