"""When the buffer is full: what is given up first, and how that is said."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence

from contract.notes import NoteKind
from edge.buffer.rows import Loss
from edge.buffer.segments import DamagedSegment, reduce, span, thin, unpack
from edge.buffer.tables import insert_segment
from edge.reading import Reading

# Of the room for the buffer, what readings that the receiver refused may take before the oldest of them go.
_REFUSED_SHARE = 0.1
# Given up at a time: few enough to be held in memory on a small board, many enough to outpace what comes in.
STEP_READINGS = 20_000
# What is left of a step is written in parts that fit a batch.
_PART_READINGS = 2_000
WHOLE, REDUCED, REGISTERS = 0, 1, 2
"""Levels of a segment: as it was read; instantaneous values at quarter-hours alone; quarter-hour registers alone."""

Gaps = Sequence[tuple[int, int]]
"""First and last id of where segments are that may go."""


def give_up(db: sqlite3.Connection, max_bytes: int, gaps: Gaps) -> list[Loss] | None:
    """Give up some of the oldest in `gaps`, inside the caller's transaction; None when there is only the newest.

    Instantaneous values go first, down to quarter-hours, then energy registers, down to quarter-hours too, and when
    nothing else is left the oldest of these. A step may have found nothing to give up in what it looked at.
    """
    if loss := _drop_refused(db, max_bytes):
        return [loss]
    for level, what_is_left in ((WHOLE, reduce), (REDUCED, thin)):
        losses = _thin(db, level, what_is_left, gaps)
        if losses is not None:
            return losses
    return _drop_oldest(db, gaps)


def _drop_refused(db: sqlite3.Connection, max_bytes: int) -> Loss | None:
    [[total]] = db.execute("SELECT coalesce(sum(length(body)), 0) FROM refused")
    if total <= max_bytes * _REFUSED_SHARE:
        return None
    rows = db.execute("SELECT id, time_us FROM refused ORDER BY id LIMIT 1000").fetchall()
    db.execute("DELETE FROM refused WHERE id <= ?", (rows[-1][0],))
    times = [time_us for _, time_us in rows]
    return Loss("refused readings dropped: the buffer is full", len(rows), min(times), max(times))


def _thin(
    db: sqlite3.Connection,
    level: int,
    what_is_left: Callable[[Sequence[Reading]], list[Reading]],
    gaps: Gaps,
) -> list[Loss] | None:
    found = _oldest(db, level, gaps)
    if not found.ids:
        return found.losses or None
    kept = what_is_left(found.readings)
    _delete(db, found.ids)
    # Not more parts than there were segments: each takes the place of one, and at least one of them has room for all.
    size = max(_PART_READINGS, -(-len(kept) // len(found.ids)))
    for place, start in enumerate(range(0, len(kept), size)):
        part = kept[start : start + size]
        insert_segment(db, found.ids[place], part, boot=found.boot, offset_us=found.offset_us, level=level + 1)
    return [*found.losses, *_losses(level, found.readings, kept)]


def _losses(level: int, before: Sequence[Reading], kept: Sequence[Reading]) -> list[Loss]:
    losses = []
    if gone := len(before) - len(kept):
        reasons = ("thinned to energy registers", "thinned to quarter-hour energy registers")
        losses.append(Loss(f"{reasons[level]}: the buffer is full", gone, *span(before), NoteKind.THINNED))
    whole = {id(reading) for reading in before}
    if fewer := [reading for reading in kept if id(reading) not in whole]:
        reason = "reduced to their energy registers: the buffer is full"
        losses.append(Loss(reason, len(fewer), *span(fewer), NoteKind.REDUCED))
    return losses


def _drop_oldest(db: sqlite3.Connection, gaps: Gaps) -> list[Loss] | None:
    found = _oldest(db, REGISTERS, gaps)
    if not found.ids:
        return found.losses or None
    _delete(db, found.ids)
    reason = "dropped: the buffer is full of energy registers"
    return [*found.losses, Loss(reason, len(found.readings), *span(found.readings), NoteKind.THINNED)]


class _Oldest:
    """Segments of one clock: ids, readings, and what of them could not be read."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.readings: list[Reading] = []
        self.boot = self.offset_us = 0
        self.losses: list[Loss] = []


def _oldest(db: sqlite3.Connection, level: int, gaps: Gaps) -> _Oldest:
    """The oldest segments of `level`, some thousand readings, never the newest of all; damaged ones are deleted."""
    found = _Oldest()
    damaged = []
    for row_id, boot, offset_us, readings, first_us, last_us, body in _segments(db, level, gaps):
        if found.ids and (boot, offset_us) != (found.boot, found.offset_us):
            break
        try:
            found.readings += unpack(body)
        except DamagedSegment:
            damaged.append(row_id)
            found.losses.append(Loss("damaged on the disk", readings, first_us, last_us, NoteKind.DAMAGED))
            continue
        found.ids.append(row_id)
        found.boot, found.offset_us = boot, offset_us
        if len(found.readings) >= STEP_READINGS:
            break
    _delete(db, damaged)
    return found


def _segments(db: sqlite3.Connection, level: int, gaps: Gaps) -> Iterator[tuple[int, int, int, int, int, int, bytes]]:
    [[newest]] = db.execute("SELECT coalesce(max(id), 0) FROM segment")
    sql = (
        "SELECT id, boot, offset_us, readings, first_us, last_us, body FROM segment "
        "WHERE id BETWEEN ? AND ? AND level = ? ORDER BY id"
    )
    for first, last in gaps:
        yield from db.execute(sql, (first, min(last, newest - 1), level))


def _delete(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    db.executemany("DELETE FROM segment WHERE id = ?", [(row_id,) for row_id in ids])
