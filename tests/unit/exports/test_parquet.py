"""Parquet: the same rows come back, in row groups of bounded size, and a file that was cut is none."""

import io
import subprocess
import sys
from datetime import timedelta

import pyarrow
import pyarrow.parquet
import pytest

from cloud.exports.comma_separated import HEADING
from cloud.exports.parquet import parquet
from cloud.exports.row import Row
from tests.unit.exports.rows import BEGIN, QUARTER, Source, quarter, quarters, rows, whole


async def test_the_same_rows_come_back() -> None:
    told = [
        quarter(BEGIN, 0, 10**13, power_mean_w=-1.5, power_min_w=-2.0, power_max_w=0.0, quality=9, version=2**40),
        quarter(BEGIN + QUARTER, None, None),
        Row(meter="=Zähler", start=BEGIN, end=BEGIN + timedelta(microseconds=1), import_wh=1, export_wh=None),
    ]
    table = pyarrow.parquet.read_table(io.BytesIO(await whole(parquet(rows(told)))))

    assert [Row(**row) for row in table.to_pylist()] == told
    assert tuple(table.column_names) == HEADING
    assert table.schema.field("import_wh").metadata[b"unit"] == b"Wh"
    assert str(table.schema.field("start").type) == "timestamp[us, tz=UTC]"


@pytest.mark.parametrize(
    ("number", "groups"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
async def test_a_row_group_has_no_more_than_it_may(number: int, groups: list[int]) -> None:
    file = pyarrow.parquet.ParquetFile(io.BytesIO(await whole(parquet(rows(quarters(number)), row_group=100))))

    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == groups
    assert file.read().num_rows == number


async def test_rows_are_sent_while_they_are_read() -> None:
    source = Source(quarters(20_000))
    parts, ahead = [], 0
    async for part in parquet(source.__aiter__(), row_group=1000):
        parts.append(part)
        ahead = max(ahead, source.taken - 1000 * (len(parts) - 1))
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(parts)))

    assert len(parts) == 21
    assert ahead == 1000
    assert table["import_wh"].to_pylist() == [row.import_wh for row in quarters(20_000)]


async def test_what_was_cut_is_no_file() -> None:
    async def broken():  # type: ignore[no-untyped-def]
        for row in quarters(250):
            yield row
        raise ConnectionError("the database is gone")

    made = parquet(broken(), row_group=100)
    parts = [await anext(made), await anext(made)]
    with pytest.raises(ConnectionError):
        await anext(made)

    with pytest.raises(pyarrow.ArrowInvalid):
        pyarrow.parquet.read_table(io.BytesIO(b"".join(parts)))


async def test_a_reader_that_goes_away_leaves_nothing_behind() -> None:
    parts = parquet(rows(quarters(1000)), row_group=100)
    await anext(parts)
    before = pyarrow.total_allocated_bytes()
    await parts.aclose()  # type: ignore[attr-defined]

    assert pyarrow.total_allocated_bytes() <= before


def test_whoever_exports_no_parquet_needs_no_pyarrow() -> None:
    code = "import sys, cloud.exports.parquet, cloud.exports.comma_separated; sys.exit('pyarrow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
