"""Cumulative reads of one metering point, from CSV."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from cloud.command import LARGEST_WH
from cloud.table_file import RowError, instant, rows

_TIME, _SERIAL, _IMPORT, _EXPORT = "read_at_utc", "meter_serial", "import_register_wh", "export_register_wh"


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

    `rollover_wh` is where the registers wrap, None where it is not known. Raises RowError.
    """
    found: dict[tuple[datetime, str], Read] = {}
    for read in _rows(lines):
        _require_below(read, rollover_wh)
        known = found.setdefault((read.at, read.serial), read)
        if known.values != read.values:
            raise RowError(
                read.row,
                f"{read.serial} at {read.at.isoformat()} is {read.values}, and {known.values} in row {known.row}",
                "a register has one value at a time: take out the wrong one",
            )
    if not found:
        raise RowError(2, "there is no read", "give at least one")
    return _in_order(sorted(found.values(), key=lambda read: read.at))


def _rows(lines: Iterable[str]) -> Iterator[Read]:
    for row, fields in rows(lines, needed=(_TIME, _SERIAL, _IMPORT), wanted=(_EXPORT,)):
        yield Read(
            at=instant(fields[_TIME], _TIME, row),
            serial=fields[_SERIAL],
            import_wh=_register(fields[_IMPORT], _IMPORT, row),
            export_wh=_register(fields.get(_EXPORT, ""), _EXPORT, row),
            row=row,
        )


def _register(text: str, column: str, row: int) -> int | None:
    if not text:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) <= 14 and int(text) <= LARGEST_WH):
        raise RowError(row, f"{column} {text[:40]!r}", f"give whole watt-hours, 0 to {LARGEST_WH}, or nothing")
    return int(text)


def _require_below(read: Read, rollover_wh: int | None) -> None:
    for column, value in zip((_IMPORT, _EXPORT), read.values, strict=True):
        if rollover_wh is not None and value is not None and value >= rollover_wh:
            raise RowError(
                read.row,
                f"{column} {value} is not below --rollover-wh {rollover_wh}",
                "give the number after the largest that the display can show, in Wh",
            )


def _in_order(found: list[Read]) -> Reads:
    """`found`, sorted by time, with its exchanges. Raises RowError where the meters take turns more than once."""
    first_read: dict[str, datetime] = {}
    for read in found:
        first_read.setdefault(read.serial, read.at)
    order = {serial: number for number, serial in enumerate(first_read)}
    reads: list[Read] = []
    exchanges: list[Exchange] = []
    for read in sorted(found, key=lambda read: (read.at, order[read.serial])):
        before = reads[-1] if reads else None
        if before is not None and order[read.serial] < order[before.serial]:
            raise RowError(
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
