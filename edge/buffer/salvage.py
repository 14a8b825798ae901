"""What can still be read of a damaged buffer, into a new one."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from contract.notes import NoteKind
from edge.buffer.pages import Pages, Value
from edge.buffer.rows import Loss
from edge.buffer.segments import DamagedSegment, flats
from edge.buffer.tables import ID_STEP, INSERT_SEGMENT, insert_loss

_SEGMENT_COLUMNS = 8
_MAGIC = b"\x28\xb5\x2f\xfd"


class Salvaged(msgspec.Struct, frozen=True):
    """How many readings came back, and how many are known to be gone."""

    readings: int
    lost: int


class _Found(msgspec.Struct):
    """The best copy of a segment so far; `whole` is false while its body cannot be read."""

    row_id: int
    row: tuple[Value, ...]
    readings: int
    first_us: int
    last_us: int
    whole: bool


def salvage(aside: Path, db: sqlite3.Connection, now_us: int) -> Salvaged:
    """Put every segment of the file at `aside` that can be read into `db`, inside the caller's transaction.

    What had been delivered and is still found in a page comes too: the receiver knows it again. What is seen to be
    there and cannot be read is recorded as lost; what cannot even be seen, nobody can count.
    """
    found: dict[int, _Found] = {}
    with Pages(aside) as pages:
        for row_id, values in pages.rows(_SEGMENT_COLUMNS):
            one = _segment(row_id, values)
            before = found.get(row_id)
            if one and (before is None or (one.whole, one.readings) > (before.whole, before.readings)):
                found[row_id] = one
    good = [one for one in found.values() if one.whole]
    bad = [one for one in found.values() if not one.whole]
    [[newest]] = db.execute("SELECT coalesce(max(id), 0) FROM segment")
    for number, one in enumerate(sorted(good, key=lambda one: one.row_id), start=newest // ID_STEP + 1):
        db.execute(INSERT_SEGMENT, (number * ID_STEP, *one.row))
    for loss in _losses(aside, bad, now_us):
        insert_loss(db, loss, now_us)
    return Salvaged(sum(one.readings for one in good), sum(one.readings for one in bad))


def _segment(row_id: int, values: list[Value]) -> _Found | None:
    _, boot, offset_us, level, readings, first_us, last_us, body = values
    if not (
        isinstance(boot, int)
        and isinstance(offset_us, int)
        and isinstance(level, int)
        and isinstance(readings, int)
        and isinstance(first_us, int)
        and isinstance(last_us, int)
        and isinstance(body, bytes)
        and body[:4] == _MAGIC
        and 0 <= level <= 2
        and 0 < readings < 1_000_000
        and first_us <= last_us
        and row_id > 0
    ):
        return None
    try:
        whole = sum(len(flat.time_us) for flat in flats(body)) == readings
    except DamagedSegment:
        whole = False
    # The boot is one of the old file: nothing vouches for it any more, and its times stay as they are.
    return _Found(row_id, (0, offset_us, level, readings, first_us, last_us, body), readings, first_us, last_us, whole)


def _losses(aside: Path, bad: list[_Found], now_us: int) -> Iterator[Loss]:
    reason = f"damaged on the disk; what is left is kept at {aside.name}"
    if bad:
        first_us, last_us = min(one.first_us for one in bad), max(one.last_us for one in bad)
        yield Loss(reason, sum(one.readings for one in bad), first_us, last_us, NoteKind.DAMAGED)
    else:
        yield Loss(reason, 0, now_us, now_us, NoteKind.DAMAGED)
