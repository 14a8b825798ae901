"""Rows to export, made as they are asked for."""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from cloud.exports.row import Row

QUARTER = timedelta(minutes=15)
BEGIN = datetime(2026, 3, 28, 23, tzinfo=UTC)


def quarter(at: datetime, import_wh: int | None = 100, export_wh: int | None = None, **more: object) -> Row:
    return Row(meter="MTR-00000001", start=at, end=at + QUARTER, import_wh=import_wh, export_wh=export_wh, **more)  # type: ignore[arg-type]


def quarters(number: int, begin: datetime = BEGIN) -> Iterator[Row]:
    return (quarter(begin + i * QUARTER, i * 7 % 1000, quality=14, coverage_percent=100.0) for i in range(number))


class Source:
    """An iterator of rows that knows how many were taken, and whether it was closed."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[Row]:
        for row in self._rows:
            self.taken += 1
            yield row


def rows(made: Iterable[Row]) -> AsyncIterator[Row]:
    return Source(made).__aiter__()


async def whole(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])
