"""Parquet. One row group is in memory at a time, however long the export is. pyarrow is loaded when it is used."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from cloud.exports.row import Row, Rows

if TYPE_CHECKING:
    import pyarrow

MEDIA_TYPE = "application/vnd.apache.parquet"
ROW_GROUP = 50_000


def schema() -> "pyarrow.Schema":
    """Columns, with what each of them is in their metadata: `unit`, and `description` where the name is not enough."""
    import pyarrow as pa

    def column(
        name: str, type_: "pyarrow.DataType", unit: str, description: str, nullable: bool = True
    ) -> "pyarrow.Field":
        return pa.field(name, type_, nullable, {"unit": unit, "description": description})

    instant = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            column("meter", pa.dictionary(pa.int32(), pa.string()), "", "Code of the meter", nullable=False),
            column("start", instant, "", "The interval's first instant", nullable=False),
            column("end", instant, "", "The first instant after the interval", nullable=False),
            column("import_wh", pa.int64(), "Wh", "Taken from the grid; null is not known"),
            column("export_wh", pa.int64(), "Wh", "Given to the grid; null is not known"),
            column("power_mean_w", pa.float64(), "W", "Mean of the power that was read"),
            column("power_min_w", pa.float64(), "W", "Least power that was read"),
            column("power_max_w", pa.float64(), "W", "Highest power that was read"),
            column("coverage_percent", pa.float64(), "%", "How much of the interval was read"),
            column("quality", pa.int16(), "", "ESPI QualityOfReading, the worst of what is in it"),
            column("version", pa.int64(), "", "Counts up with every change"),
        ]
    )


async def parquet(rows: Rows, *, row_group: int = ROW_GROUP) -> AsyncIterator[bytes]:
    """Bytes as row groups are full. What fails on the way has no footer: no reader takes it for whole."""
    file = await asyncio.to_thread(_File)
    try:
        group: list[Row] = []
        async for row in rows:
            group.append(row)
            if len(group) == row_group:
                yield await asyncio.to_thread(file.add, group)
                group = []
        if group:
            yield await asyncio.to_thread(file.add, group)
        yield await asyncio.to_thread(file.end)
    finally:
        # Of what was not read to its end, too; what it writes then goes nowhere.
        file.close()


class _File:
    """A file that is written to memory and taken away piece by piece."""

    def __init__(self) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        self._schema = schema()
        self._sink = _Sink()
        self._table = pa.Table
        self._array = pa.array
        self._writer = ParquetWriter(pa.PythonFile(self._sink, mode="w"), self._schema, compression="zstd")

    def add(self, rows: list[Row]) -> bytes:
        """The bytes of one more row group, and what comes before it."""
        columns = [self._array([getattr(row, field.name) for row in rows], field.type) for field in self._schema]
        self._writer.write_table(self._table.from_arrays(columns, schema=self._schema), row_group_size=len(rows))
        return self._sink.taken()

    def end(self) -> bytes:
        """The footer."""
        self._writer.close()
        return self._sink.taken()

    def close(self) -> None:
        self._writer.close()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken, and knows how much it was in all."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: bytes) -> int:  # type: ignore[override]
        part = bytes(data)
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def taken(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
