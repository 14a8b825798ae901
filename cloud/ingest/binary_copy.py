"""PostgreSQL's binary COPY format, built by numpy.

Format: https://www.postgresql.org/docs/17/sql-copy.html, "Binary Format". Rows with the same set of NULLs have the
same width, so each such group is one structured array; row order does not matter to a table.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection, sql

from cloud.ingest.columns import Rows
from contract.quantities import BY_NAME, Kind

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_2000_US = 946_684_800_000_000
_FIXED = (("time", ">i8"), ("meter_id", ">i4"), ("flags", ">i2"), ("batch_id", ">i8"))


async def copy_into(connection: AsyncConnection, table: str, rows: Rows, batch_id: int) -> None:
    """COPY `rows` into `table`, which has the columns of raw_readings. Raises psycopg's UniqueViolation."""
    async with connection.cursor().copy(_statement(table, tuple(rows.values))) as copy:
        await copy.write(encode(rows, batch_id))


@lru_cache(maxsize=1000)
def _statement(table: str, quantities: tuple[str, ...]) -> sql.SQL:
    names = [name for name, _ in _FIXED] + [*quantities]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    text = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table), columns).as_string()
    return sql.SQL(text)  # type: ignore[arg-type]  # quoted above, and rendered once


def encode(rows: Rows, batch_id: int) -> bytes | bytearray:
    """`rows` as a complete COPY stream: time, meter_id, flags, batch_id, then the columns of `rows.values` in order."""
    absent = [np.isnan(column) for column in rows.values.values() if column.dtype != np.int64]
    quantities = tuple(rows.values)
    if not any(none.any() for none in absent):
        return _stream(rows, batch_id, quantities)
    pattern = np.zeros(len(rows), dtype=np.int64)
    for bit, column in enumerate(rows.values.values()):
        pattern |= (~np.isnan(column)).astype(np.int64) << bit
    groups = []
    for one in np.unique(pattern).tolist():
        present = tuple(name for bit, name in enumerate(quantities) if one >> bit & 1)
        groups.append(_stream(rows.take(pattern == one), batch_id, present, body_only=True))
    return b"".join((_SIGNATURE, *groups, _TRAILER))


def _stream(rows: Rows, batch_id: int, present: tuple[str, ...], *, body_only: bool = False) -> bytearray:
    """Rows that have exactly the quantities `present`, with the stream's beginning and end around them or without."""
    template = _template(tuple(rows.values), present).copy()
    template["batch_id"] = batch_id
    begin, end = (b"", b"") if body_only else (_SIGNATURE, _TRAILER)
    # What is the same in every row is there before the columns are written into it.
    stream = bytearray(begin + template.tobytes() * len(rows) + end)
    out = np.frombuffer(stream, dtype=template.dtype, count=len(rows), offset=len(begin))
    np.subtract(rows.time_us, _EPOCH_2000_US, out=out["time"])
    out["meter_id"] = rows.meter_id
    out["flags"] = rows.flags
    for name in present:
        out[name] = rows.values[name]
    return stream


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
