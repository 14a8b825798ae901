"""When the buffer is full: what is given up first, and how that is said."""

import aiosqlite

from edge.buffer.rows import INSERT_SEGMENT, Loss, segment_row
from edge.buffer.segments import DamagedSegment, span, thin, unpack
from edge.reading import Reading

# Of the room for the buffer, what batches that the receiver refused may take before the oldest of them go.
_REFUSED_SHARE = 0.1
# Given up at a time: few enough to be held in memory on a small board, many enough to outpace what comes in.
_STEP_READINGS = 20_000


async def give_up(db: aiosqlite.Connection, max_bytes: int) -> Loss | None:
    """Give up some of the oldest, inside the caller's transaction; None when there is nothing but the newest."""
    try:
        return await _drop_refused(db, max_bytes) or await _thin(db) or await _drop_oldest(db)
    except DamagedSegment:
        return await _drop_damaged(db)


async def _drop_refused(db: aiosqlite.Connection, max_bytes: int) -> Loss | None:
    async with db.execute("SELECT coalesce(sum(length(body)), 0) FROM refused") as cursor:
        [[total]] = await cursor.fetchall()
    if total <= max_bytes * _REFUSED_SHARE:
        return None
    async with db.execute("SELECT seq, readings, first_us, last_us FROM refused ORDER BY seq LIMIT 1") as cursor:
        [[seq, readings, first_us, last_us]] = await cursor.fetchall()
    await db.execute("DELETE FROM refused WHERE seq = ?", (seq,))
    return Loss("refused batch dropped: the buffer is full", readings, first_us, last_us)


async def _thin(db: aiosqlite.Connection) -> Loss | None:
    ids, readings = await _oldest(db, thinned=False)
    if not ids:
        return None
    kept = thin(readings)
    await _delete(db, ids)
    if kept:
        await db.execute(INSERT_SEGMENT, segment_row(kept, row_id=ids[0], thinned=True))
    if len(kept) == len(readings):
        return Loss("reduced to their energy registers: the buffer is full", len(readings), *span(readings))
    gone = len(readings) - len(kept)
    return Loss("thinned to quarter-hour energy registers: the buffer is full", gone, *span(readings))


async def _drop_oldest(db: aiosqlite.Connection) -> Loss | None:
    ids, readings = await _oldest(db, thinned=True)
    if not ids:
        return None
    await _delete(db, ids)
    return Loss("dropped: the buffer is full of energy registers", len(readings), *span(readings))


async def _drop_damaged(db: aiosqlite.Connection) -> Loss | None:
    """The oldest segment that cannot be read; it was met before anything was given up."""
    async with db.execute("SELECT id, body, readings, first_us, last_us FROM segment ORDER BY id") as cursor:
        async for row_id, body, *covered in cursor:
            try:
                unpack(body)
            except DamagedSegment:
                await _delete(db, [row_id])
                return Loss.of_damage(*covered)
    return None


async def _delete(db: aiosqlite.Connection, ids: list[int]) -> None:
    await db.executemany("DELETE FROM segment WHERE id = ?", [(row_id,) for row_id in ids])


async def _oldest(db: aiosqlite.Connection, *, thinned: bool) -> tuple[list[int], list[Reading]]:
    """Ids and readings of the oldest segments, some thousand readings, never of the newest segment."""
    ids: list[int] = []
    readings: list[Reading] = []
    sql = (
        "SELECT id, body FROM segment WHERE thinned = ? AND id < (SELECT coalesce(max(id), 0) FROM segment) ORDER BY id"
    )
    async with db.execute(sql, (int(thinned),)) as cursor:
        async for row_id, body in cursor:
            ids.append(row_id)
            readings += unpack(body)
            if len(readings) >= _STEP_READINGS:
                break
    return ids, readings
