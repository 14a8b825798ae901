"""What can still be read of a damaged buffer, into a new one."""

import sqlite3
from bisect import bisect_left, bisect_right
from pathlib import Path

import msgspec

from contract.notes import NoteKind
from edge.buffer.pages import Pages, Place, Value
from edge.buffer.rows import Loss
from edge.buffer.segments import DamagedSegment, flats
from edge.buffer.tables import ID_STEP, INSERT_SEGMENT, insert_loss
from edge.buffer.truth import held_boot

_MAGIC = b"\x28\xb5\x2f\xfd"
_INSERT_REFUSED = "INSERT INTO refused (device, time_us, body, status, reason, refused_us) VALUES (?, ?, ?, ?, ?, ?)"


class Salvaged(msgspec.Struct, frozen=True):
    """How many readings came back, and how many are known to be gone."""

    readings: int
    lost: int


class _Found(msgspec.Struct):
    """The best copy of a row so far; `whole` is false while its body cannot be read."""

    place: Place
    whole: bool
    readings: int
    first_us: int
    last_us: int

    @property
    def worth(self) -> tuple[bool, int]:
        return self.whole, self.readings


def salvage(aside: Path, db: sqlite3.Connection, now_us: int, *, reason: str) -> Salvaged:
    """Put every segment of the file at `aside` that can be read into `db`, inside the caller's transaction.

    What had been delivered and is still found in a page comes too: the receiver knows it again, by times that are set
    right as they were then. What is seen to be there and cannot be read is recorded as lost, under `reason`; what
    cannot even be seen, nobody can count.
    """
    with Pages(aside) as pages:
        found = _Survey()
        for size in pages.sizes():
            pages.take(size)
            # Places alone are kept: a backlog may be larger than the memory.
            found = _survey(pages)
            if found.segments or found.refused:
                break
        segments = found.segments
        boots = {row_id: _boot(db, *boot) for row_id, boot in found.boots.items()}
        [[newest]] = db.execute("SELECT coalesce(max(id), 0) FROM segment")
        good = sorted(row_id for row_id, one in segments.items() if one.whole)
        truths = _truths(found, good)
        for number, row_id in enumerate(good, start=newest // ID_STEP + 1):
            one = segments[row_id]
            _, (_, boot, offset_us, level, *_, body) = pages.row(one.place)
            # Where its boot is not known any more, nothing vouches for it, and its times stay as they are.
            kept = boots.get(boot, 0) if isinstance(boot, int) else 0
            if row_id in truths:
                name, _, seen_us = found.boots.get(boot, ("", None, 0)) if isinstance(boot, int) else ("", None, 0)
                kept = held_boot(db, name, truths[row_id], seen_us)
            row = (number * ID_STEP, kept, offset_us, level, one.readings, one.first_us, one.last_us, body)
            db.execute(INSERT_SEGMENT, row)
        for _, one in sorted(found.refused.items()):
            _, values = pages.row(one.place)
            db.execute(_INSERT_REFUSED, values[1:])
    lost = [one for one in segments.values() if not one.whole]
    insert_loss(db, _loss(lost, reason, now_us), now_us)
    return Salvaged(sum(segments[row_id].readings for row_id in good), sum(one.readings for one in lost))


class _Survey(msgspec.Struct):
    """The best copy of each segment and of each refused reading, the boots, and of each batch the first and the last id
    of its segments with the truth that it was made with, by row id."""

    segments: dict[int, _Found] = {}
    refused: dict[int, _Found] = {}
    boots: dict[int, tuple[str, int | None, int]] = {}
    cuts: dict[int, tuple[int, int, int]] = {}


def _survey(pages: Pages) -> _Survey:
    found = _Survey()
    for place, row_id, values in pages.rows():
        if len(values) == 8:
            _keep(found.segments, row_id, _segment(place, values))
        elif len(values) == 7:
            _keep(found.refused, row_id, _refused(place, values))
        elif len(values) == 4:
            _, boot_id, offset_us, seen_us = values
            if isinstance(boot_id, str) and isinstance(seen_us, int) and isinstance(offset_us, int | None):
                # What somebody vouched for is newer than what nobody did yet.
                before = found.boots.get(row_id)
                if before is None or before[1] is None:
                    found.boots[row_id] = (boot_id, offset_us, seen_us)
        elif len(values) == 16:
            _, _, _, _, first_id, last_id, true_us, *_ = values
            # An older image is from before the batch was emptied: what was in it may have gone all the same.
            if isinstance(first_id, int) and isinstance(last_id, int) and isinstance(true_us, int):
                found.cuts[row_id] = (first_id, last_id, true_us)
    return found


def _truths(found: _Survey, ids: list[int]) -> dict[int, int]:
    """Of the ascending `ids` those that were in a batch, and with which truth: they may have arrived with it."""
    truths = {}
    for _, (first_id, last_id, true_us) in sorted(found.cuts.items()):
        for row_id in ids[bisect_left(ids, first_id) : bisect_right(ids, last_id)]:
            truths[row_id] = true_us
    return truths


def _boot(db: sqlite3.Connection, boot_id: str, offset_us: int | None, seen_us: int) -> int:
    """The id under which `db` knows that boot."""
    db.execute(
        "INSERT INTO boot (boot_id, offset_us, seen_us) VALUES (?, ?, ?) "
        "ON CONFLICT (boot_id) DO UPDATE SET offset_us = coalesce(offset_us, excluded.offset_us)",
        (boot_id, offset_us, seen_us),
    )
    [[row_id]] = db.execute("SELECT id FROM boot WHERE boot_id = ?", (boot_id,))
    return int(row_id)


def _keep(found: dict[int, _Found], row_id: int, one: _Found | None) -> None:
    if one is not None and row_id > 0 and (row_id not in found or one.worth > found[row_id].worth):
        found[row_id] = one


def _segment(place: Place, values: list[Value]) -> _Found | None:
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
    ):
        return None
    try:
        # What the row says of its body may be damaged where the body is not.
        times = [time_us for flat in flats(body) for time_us in flat.time_us]
        return _Found(place, True, len(times), min(times), max(times))
    except DamagedSegment:
        return _Found(place, False, readings, first_us, last_us)


def _refused(place: Place, values: list[Value]) -> _Found | None:
    _, device, time_us, body, status, reason, refused_us = values
    if not (
        isinstance(device, str)
        and isinstance(time_us, int)
        and isinstance(body, bytes)
        and body[:4] == _MAGIC
        and isinstance(status, int)
        and isinstance(reason, str)
        and isinstance(refused_us, int)
    ):
        return None
    try:
        return _Found(place, True, sum(len(flat.time_us) for flat in flats(body)), time_us, time_us)
    except DamagedSegment:
        return None


def _loss(lost: list[_Found], reason: str, now_us: int) -> Loss:
    if not lost:
        return Loss(reason, 0, now_us, now_us, NoteKind.DAMAGED)
    first_us, last_us = min(one.first_us for one in lost), max(one.last_us for one in lost)
    return Loss(reason, sum(one.readings for one in lost), first_us, last_us, NoteKind.DAMAGED)
