"""Green Button: ESPI (NAESB REQ.21) in an Atom feed. One local day of readings is in memory at a time."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape, quoteattr
from zoneinfo import ZoneInfo

from cloud.exports.daylight import local_time
from cloud.exports.row import Row, Rows

MEDIA_TYPE = "application/atom+xml; charset=utf-8"
_ESPI = 'xmlns="http://naesb.org/espi"'
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Quality of an interval that nobody judged.
_RAW = 14


@dataclass(frozen=True, slots=True)
class _Kind:
    """Length of an interval, seconds, None where it varies; and ESPI's codes for it."""

    title: str
    length_s: int | None
    time_attribute: int
    measuring_period: int


_KINDS = {
    "1m": _Kind("Minutes", 60, 0, 3),
    "15m": _Kind("Quarter-hours", 900, 0, 2),
    "1h": _Kind("Hours", 3600, 0, 7),
    "1d": _Kind("Days", None, 11, 4),
    "1mo": _Kind("Months", None, 13, 0),
}


@dataclass(frozen=True, slots=True)
class _Flow:
    """A direction of energy; `code` is ESPI's flowDirection: 1 forward, what is delivered, 19 reverse."""

    key: str
    title: str
    code: int

    def energy_wh(self, row: Row) -> int | None:
        return row.import_wh if self.key == "import" else row.export_wh


_FLOWS = (_Flow("import", "Taken from the grid", 1), _Flow("export", "Given to the grid", 19))


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What is exported: one meter, its time zone, whose it is, and which span, at which resolution."""

    meter: str
    title: str
    customer: str
    zone: ZoneInfo
    first: datetime
    last: datetime
    resolution: str
    updated: datetime

    def __post_init__(self) -> None:
        if self.resolution not in _KINDS:
            raise ValueError(f"resolution {self.resolution!r}: give one of {', '.join(_KINDS)}")
        if self.first >= self.last:
            raise ValueError(f"{self.first} to {self.last}: give the earlier one first")


async def green_button(rows: Rows, feed: Feed) -> AsyncIterator[bytes]:
    """A feed with a UsagePoint and, for each direction that has energy, readings in blocks of a local day.

    The rows are the feed's meter's, in order of time. What is not known has no reading. Raises ValueError for others.
    """
    made = _Document(feed)
    yield made.head()
    known: set[str] = set()
    day: list[Row] = []
    async for row in rows:
        if row.meter != feed.meter:
            raise ValueError(f"a row of {row.meter} in the feed of {feed.meter}")
        if day and row.start < day[-1].end:
            raise ValueError(f"a row at {row.start} after one up to {day[-1].end}")
        if day and _day(row, feed) != _day(day[0], feed):
            yield made.blocks(day, known)
            day = []
        day.append(row)
    if day:
        yield made.blocks(day, known)
    yield b"</feed>\n"


def _day(row: Row, feed: Feed) -> object:
    return row.start.astimezone(feed.zone).date()


class _Document:
    """The feed's pieces, each whole entries."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._kind = _KINDS[feed.resolution]
        self._customer = f"/espi/1_1/resource/RetailCustomer/{feed.customer}"
        self._point = f"{self._customer}/UsagePoint/{feed.meter}"
        self._until = feed.first
        self._local_time = f"/espi/1_1/resource/LocalTimeParameters/{feed.zone.key.replace('/', '-')}"

    def head(self) -> bytes:
        """The feed's own elements, the zone and the usage point."""
        feed = self._feed
        local = local_time(feed.zone, feed.first.astimezone(feed.zone).year)
        span = f"{feed.first.isoformat()}/{feed.last.isoformat()}/{feed.resolution}"
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n',
            f"<id>{_uuid(f'{self._point}?{span}')}</id>\n<title>{_text(feed.title)}</title>\n",
            f'<updated>{_instant(feed.updated)}</updated>\n<link rel="self" href={_attribute(self._point)}/>\n',
            self._entry(
                self._point,
                f"{self._customer}/UsagePoint",
                [f"{self._point}/MeterReading", self._local_time],
                feed.title,
                f"<UsagePoint {_ESPI}><ServiceCategory><kind>0</kind></ServiceCategory></UsagePoint>",
            ),
            self._entry(
                self._local_time,
                "/espi/1_1/resource/LocalTimeParameters",
                [],
                feed.zone.key,
                f"<LocalTimeParameters {_ESPI}><dstEndRule>{local.ends}</dstEndRule>"
                f"<dstOffset>{local.daylight_s}</dstOffset><dstStartRule>{local.starts}</dstStartRule>"
                f"<tzOffset>{local.offset_s}</tzOffset></LocalTimeParameters>",
            ),
        ]
        return "".join(parts).encode()

    def blocks(self, day: list[Row], known: set[str]) -> bytes:
        """The block of a day in each direction; before the first block of a direction what says how to read it."""
        parts: list[str] = []
        bounds = self._bounds(day)
        self._until = bounds[1]
        for flow in _FLOWS:
            if all(flow.energy_wh(row) is None for row in day):
                continue
            if flow.key not in known:
                known.add(flow.key)
                parts += self._reading(flow)
            parts.append(self._block(flow, day, bounds))
        return "".join(parts).encode()

    def _reading(self, flow: _Flow) -> Iterator[str]:
        reading, type_ = self._hrefs(flow)
        title = f"{self._kind.title}, {flow.title.lower()}"
        length = "" if self._kind.length_s is None else f"<intervalLength>{self._kind.length_s}</intervalLength>"
        yield self._entry(
            reading,
            f"{self._point}/MeterReading",
            [f"{reading}/IntervalBlock", type_],
            title,
            f"<MeterReading {_ESPI}/>",
        )
        # 4: the difference of a register over an interval. 1: electricity of a second-hand meter. 12: energy. 72: Wh.
        yield self._entry(
            type_,
            "/espi/1_1/resource/ReadingType",
            [],
            title,
            f"<ReadingType {_ESPI}><accumulationBehaviour>4</accumulationBehaviour><commodity>1</commodity>"
            f"<dataQualifier>12</dataQualifier><flowDirection>{flow.code}</flowDirection>{length}<kind>12</kind>"
            f"<phase>0</phase><powerOfTenMultiplier>0</powerOfTenMultiplier>"
            f"<timeAttribute>{self._kind.time_attribute}</timeAttribute><uom>72</uom>"
            f"<measuringPeriod>{self._kind.measuring_period}</measuringPeriod></ReadingType>",
        )

    def _block(self, flow: _Flow, day: list[Row], bounds: tuple[datetime, datetime]) -> str:
        reading, _ = self._hrefs(flow)
        start, end = bounds
        values = "".join(
            f"<IntervalReading><ReadingQuality><quality>{_RAW if row.quality is None else row.quality}</quality>"
            f"</ReadingQuality><timePeriod>{_period(row.start, row.end)}</timePeriod><value>{energy}</value>"
            "</IntervalReading>\n"
            for row in day
            if (energy := flow.energy_wh(row)) is not None
        )
        return self._entry(
            f"{reading}/IntervalBlock/{start.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            f"{reading}/IntervalBlock",
            [],
            start.astimezone(self._feed.zone).date().isoformat(),
            f"<IntervalBlock {_ESPI}><interval>{_period(start, end)}</interval>\n{values}</IntervalBlock>",
        )

    def _bounds(self, day: list[Row]) -> tuple[datetime, datetime]:
        """The local day, as far as it is exported; an interval that reaches beyond midnight stays in its first day."""
        zone = self._feed.zone
        date = day[0].start.astimezone(zone).date()
        midnight = datetime.combine(date, time(), zone).astimezone(UTC)
        next_midnight = datetime.combine(date + timedelta(days=1), time(), zone).astimezone(UTC)
        return (
            min(max(midnight, self._until), day[0].start),
            max(min(next_midnight, self._feed.last), day[-1].end),
        )

    def _hrefs(self, flow: _Flow) -> tuple[str, str]:
        name = f"{self._feed.resolution}-{flow.key}"
        return f"{self._point}/MeterReading/{name}", f"/espi/1_1/resource/ReadingType/{name}"

    def _entry(self, href: str, up: str, related: list[str], title: str, content: str) -> str:
        links = "".join(f'<link rel="related" href={_attribute(link)}/>\n' for link in related)
        at = _instant(self._feed.updated)
        return (
            f'<entry>\n<id>{_uuid(href)}</id>\n<link rel="self" href={_attribute(href)}/>\n'
            f'<link rel="up" href={_attribute(up)}/>\n{links}<title>{_text(title)}</title>\n'
            f"<content>{content}</content>\n<published>{at}</published>\n<updated>{at}</updated>\n</entry>\n"
        )


def _period(start: datetime, end: datetime) -> str:
    began, ended = int(start.timestamp()), int(end.timestamp())
    return f"<duration>{ended - began}</duration><start>{began}</start>"


def _uuid(href: str) -> str:
    """The same resource has the same id in every export."""
    return f"urn:uuid:{str(uuid5(NAMESPACE_URL, href)).upper()}"


def _instant(when: datetime) -> str:
    return when.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def _text(text: str) -> str:
    return escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text))


def _attribute(text: str) -> str:
    return quoteattr(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text))
