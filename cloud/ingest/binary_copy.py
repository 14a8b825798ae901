"""PostgreSQL's binary COPY format, built by numpy.

Format: https://www.postgresql.org/docs/17/sql-copy.html, "Binary Format". Rows with the same set of NULLs have the
same width, so each such group is one structured array; row order does not matter to a table.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection, sql

from cloud.ingest.rows import Rows
from contract.quantities import BY_NAME, Kind

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_2000_US = 946_684_800_000_000
# As many as a processor's cache holds while they are put together, and sent while the next are.
_ROWS_AT_ONCE = 1000
_FIXED = (("time", ">i8"), ("meter_id", ">i4"), ("flags", ">i2"), ("batch_id", ">i8"))


async def copy_into(connection: AsyncConnection, table: str, rows: Rows, batch_id: int) -> None:
    """COPY `rows` into `table`, which has the columns of raw_readings. Raises psycopg's UniqueViolation."""
    async with connection.cursor().copy(_statement(table, tuple(rows.values))) as copy:
        for piece in pieces(rows, batch_id):
            await copy.write(piece)


@lru_cache(maxsize=1000)
def _statement(table: str, quantities: tuple[str, ...]) -> sql.SQL:
    names = [name for name, _ in _FIXED] + [*quantities]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    text = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table), columns).as_string()
    return sql.SQL(text)


def pieces(rows: Rows, batch_id: int) -> Iterator[bytes | bytearray]:
    """`rows` as a complete COPY stream: time, meter_id, flags, batch_id, then the columns of `rows.values` in order."""
    yield _SIGNATURE
    quantities = tuple(rows.values)
    nulls = [np.isnan(column) for column in rows.values.values() if column.dtype != np.int64]
    if not any(null.any() for null in nulls):
        yield from _alike(rows, batch_id, quantities)
    else:
        pattern = np.zeros(len(rows), dtype=np.int64)
        for bit, column in enumerate(rows.values.values()):
            pattern |= (~np.isnan(column)).astype(np.int64) << bit
        for one in np.unique(pattern).tolist():
            present = tuple(name for bit, name in enumerate(quantities) if one >> bit & 1)
            yield from _alike(rows.take(pattern == one), batch_id, present)
    yield _TRAILER


def _alike(rows: Rows, batch_id: int, present: tuple[str, ...]) -> Iterator[bytearray]:
    """Rows that have exactly the quantities `present`."""
    template = _template(tuple(rows.values), present).copy()
    template["batch_id"] = batch_id
    time_2000_us = rows.time_us - _EPOCH_2000_US
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = slice(begin, begin + _ROWS_AT_ONCE)
        # What is the same in every row is there before the columns are written into it.
        piece = bytearray(template.tobytes() * len(time_2000_us[some]))
        out = np.frombuffer(piece, dtype=template.dtype)
        out["time"] = time_2000_us[some]
        out["meter_id"] = rows.meter_id[some]
        out["flags"] = rows.flags[some]
        for name in present:
            out[name] = rows.values[name][some]
        yield piece


@lru_cache(maxsize=1000)
def _template(names: tuple[str, ...], present: tuple[str, ...]) -> NDArray[np.void]:
    """One row without its values; a NULL is a length of -1 and nothing else."""
    kinds = [*_FIXED, *((name, ">i8" if BY_NAME[name].kind is Kind.CUMULATIVE else ">f4") for name in names)]
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    lengths = {}
    for name, kind in kinds:
        layout.append((f"{name} length", ">i4"))
        there = name in present or (name, kind) in _FIXED
        lengths[f"{name} length"] = np.dtype(kind).itemsize if there else -1
        if there:
            layout.append((name, kind))
    template = np.zeros(1, dtype=layout)
    template["fields"] = len(kinds)
    for field, length in lengths.items():
        template[field] = length
    return template
