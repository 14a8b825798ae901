"""PostgreSQL's binary COPY format, built by numpy.

Format: https://www.postgresql.org/docs/17/sql-copy.html, "Binary Format". Rows with the same set of NULLs have the
same width, so each such group is one structured array; row order does not matter to a table.
"""

import numpy as np
from psycopg import AsyncConnection, sql

from cloud.ingest.columns import Rows
from contract.quantities import BY_NAME, Kind

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_2000_US = 946_684_800_000_000


async def copy_into(connection: AsyncConnection, table: str, rows: Rows, batch_id: int) -> None:
    """COPY `rows` into `table`, which has the columns of raw_readings. Raises psycopg's UniqueViolation."""
    names = ["time", "meter_id", "flags", "batch_id", *rows.values]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table), columns)
    async with connection.cursor().copy(statement) as copy:
        await copy.write(encode(rows, batch_id))


def encode(rows: Rows, batch_id: int) -> bytes:
    """`rows` as a complete COPY stream: time, meter_id, flags, batch_id, then the columns of `rows.values` in order."""
    present = [~np.isnan(column) for column in rows.values.values()]
    pattern = np.zeros(len(rows), dtype=np.int64)
    for bit, has in enumerate(present):
        pattern |= has.astype(np.int64) << bit
    patterns = np.unique(pattern)
    if len(patterns) == 1:
        return b"".join((_SIGNATURE, _group(rows, batch_id, int(patterns[0])), _TRAILER))
    groups = (_group(rows.take(pattern == one), batch_id, int(one)) for one in patterns)
    return b"".join((_SIGNATURE, *groups, _TRAILER))


def _group(rows: Rows, batch_id: int, pattern: int) -> bytes:
    """Rows that have exactly the quantities whose bits are set in `pattern`."""
    fixed = [("time", ">i8"), ("meter_id", ">i4"), ("flags", ">i2"), ("batch_id", ">i8")]
    kinds = [*fixed, *((name, ">i8" if _is_register(name) else ">f4") for name in rows.values)]
    present = [True] * len(fixed) + [bool(pattern >> bit & 1) for bit in range(len(rows.values))]
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for (name, kind), has in zip(kinds, present, strict=True):
        layout.append((f"{name} length", ">i4"))
        if has:
            layout.append((name, kind))
    out = np.empty(len(rows), dtype=layout)
    out["fields"] = len(kinds)
    for (name, kind), has in zip(kinds, present, strict=True):
        out[f"{name} length"] = np.dtype(kind).itemsize if has else -1
    out["time"] = rows.time_us - _EPOCH_2000_US
    out["meter_id"] = rows.meter_id
    out["flags"] = rows.flags
    out["batch_id"] = batch_id
    for name, has in zip(rows.values, present[len(fixed) :], strict=True):
        if has:
            out[name] = rows.values[name]
    return out.tobytes()


def _is_register(name: str) -> bool:
    return BY_NAME[name].kind is Kind.CUMULATIVE
