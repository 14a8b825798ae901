"""Cumulative reads of one metering point, from CSV."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median

from cloud.command import LARGEST_WH
from cloud.errors import InputError

_TIME, _SERIAL, _IMPORT, _EXPORT = "read_at_utc", "meter_serial", "import_register_wh", "export_register_wh"
_YEARS = range(1970, 2101)


class ReadsError(InputError):
    """A file of reads that cannot be computed; the message names its row, what was found, and what belongs there."""

    def __init__(self, row: int, found: str, todo: str) -> None:
        super().__init__(f"row {row}: {found}; {todo}")
        self.row = row


@dataclass(frozen=True, slots=True)
class Read:
    """One read of both registers, Wh; None where it was not taken. `row` is its row in the file, the header being 1."""

    at: datetime
    serial: str
    import_wh: int | None
    export_wh: int | None
    row: int

    @property
    def values(self) -> tuple[int | None, int | None]:
        return self.import_wh, self.export_wh


@dataclass(frozen=True, slots=True)
class Exchange:
    """`first` is the first read of a meter that replaced another, whose `final` read is None if none was taken then."""

    at: datetime
    final: Read | None
    first: Read


@dataclass(frozen=True, slots=True)
class Reads:
    """What a file says: reads in order of time, at most one an instant, and between them exchanges of the meter."""

    reads: list[Read]
    exchanges: list[Exchange]

    @property
    def interval(self) -> timedelta:
        """The time from read to read, as a rule."""
        gaps = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(self.reads)]
        return timedelta(seconds=median(gaps)) if gaps else timedelta(minutes=1)


def parse(lines: Iterable[str], *, rollover_wh: int | None = None) -> Reads:
    """The reads in `lines`, in whatever order they are there; an exact repetition counts once.

    `rollover_wh` is where the registers wrap, None where it is not known. Raises ReadsError.
    """
    found: dict[tuple[datetime, str], Read] = {}
    for read in _rows(lines):
        _require_below(read, rollover_wh)
        known = found.setdefault((read.at, read.serial), read)
        if known.values != read.values:
            raise ReadsError(
                read.row,
                f"{read.serial} at {read.at.isoformat()} is {read.values}, and {known.values} in row {known.row}",
                "a register has one value at a time: take out the wrong one",
            )
    if not found:
        raise ReadsError(2, "there is no read", "give at least one")
    return _in_order(sorted(found.values(), key=lambda read: read.at))


def _rows(lines: Iterable[str]) -> Iterator[Read]:
    rows = csv.DictReader(lines, strict=True)
    wanted = {_TIME, _SERIAL, _IMPORT}
    try:
        names = set(rows.fieldnames or ())
        if not wanted <= names <= wanted | {_EXPORT} or len(names) != len(rows.fieldnames or ()):
            shown = ",".join(rows.fieldnames or ())[:200]
            raise ReadsError(
                1, f"the columns are {shown!r}", f"they must be {_TIME},{_SERIAL},{_IMPORT} and, if wanted, {_EXPORT}"
            )
        for fields in rows:
            row = rows.line_num
            if None in fields or None in fields.values():
                raise ReadsError(row, "another number of fields", f"the header has {len(names)}")
            yield Read(
                at=_time(fields[_TIME], row),
                serial=fields[_SERIAL],
                import_wh=_register(fields[_IMPORT], _IMPORT, row),
                export_wh=_register(fields.get(_EXPORT, ""), _EXPORT, row),
                row=row,
            )
    except csv.Error as error:
        raise ReadsError(rows.reader.line_num, str(error), "send comma-separated values") from error


def _time(text: str, row: int) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ReadsError(row, f"{_TIME} {text[:40]!r}", "give a time such as 2026-03-01T12:00:00Z") from None
    if at.year not in _YEARS:
        raise ReadsError(
            row, f"{_TIME} {text[:40]!r}", f"take out what a wrong clock stamped; years are {_YEARS[0]} to {_YEARS[-1]}"
        )
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _register(text: str, column: str, row: int) -> int | None:
    if not text:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) <= 14 and int(text) <= LARGEST_WH):
        raise ReadsError(row, f"{column} {text[:40]!r}", f"give whole watt-hours, 0 to {LARGEST_WH}, or nothing")
    return int(text)


def _require_below(read: Read, rollover_wh: int | None) -> None:
    for column, value in zip((_IMPORT, _EXPORT), read.values, strict=True):
        if rollover_wh is not None and value is not None and value >= rollover_wh:
            raise ReadsError(
                read.row,
                f"{column} {value} is not below --rollover-wh {rollover_wh}",
                "give the number after the largest that the display can show, in Wh",
            )


def _in_order(found: list[Read]) -> Reads:
    """`found`, sorted by time, with its exchanges. Raises ReadsError where the meters take turns more than once."""
    first_read: dict[str, datetime] = {}
    for read in found:
        first_read.setdefault(read.serial, read.at)
    order = {serial: number for number, serial in enumerate(first_read)}
    reads: list[Read] = []
    exchanges: list[Exchange] = []
    for read in sorted(found, key=lambda read: (read.at, order[read.serial])):
        before = reads[-1] if reads else None
        if before is not None and order[read.serial] < order[before.serial]:
            raise ReadsError(
                read.row,
                f"a read of {read.serial} at {read.at.isoformat()}, after {before.serial} had replaced it",
                "compute metering points one by one",
            )
        if before is not None and read.serial != before.serial:
            same = before.at == read.at
            exchanges.append(Exchange(read.at, before if same else None, read))
            if same:
                reads.pop()
        reads.append(read)
    return Reads(reads, exchanges)
