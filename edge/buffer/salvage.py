"""What can still be read of a damaged buffer, into a new one."""

import sqlite3
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contract.notes import NoteKind
from edge.buffer.deliveries import INSERT_DELIVERED
from edge.buffer.holes import Hole, holes
from edge.buffer.mending import mend, mend_boots
from edge.buffer.pages import pages_on_disk
from edge.buffer.rows import Loss
from edge.buffer.survey import CutOnce, Survey, survey
from edge.buffer.tables import (
    ID_STEP,
    INSERT_LOSS,
    INSERT_REFUSED,
    insert_loss,
    insert_notes,
    insert_packed,
    next_segment_id,
)
from edge.buffer.truth import held_boot, insert_boot, is_held, settled_boot, truth_of, vouch


class Salvaged(msgspec.Struct, frozen=True):
    """How many readings came back, and how many are known to be gone."""

    readings: int
    lost: int


def salvage(aside: Path, db: sqlite3.Connection, now_us: int, *, reason: str) -> Salvaged:
    """Put every segment of the file at `aside` that can be read into `db`, inside the caller's transaction.

    What was delivered and confirmed stays behind, although its pages may still be there. What was delivered alone comes
    too: the receiver knows it again, by times that are set right as they were then. What is seen to be there and cannot
    be read is recorded as lost, under `reason`, and so is what left a hole in the numbers; what is missing behind the
    newest, nobody can count. Notes that wait, and what was lost before, come too. So do deliveries: a broker repeats
    those that it has no acknowledgement of, and their readings are here.
    """
    with pages_on_disk(aside) as pages:
        found = Survey()
        for size in pages.sizes():
            pages.take(size)
            found = survey(pages)
            if found.segments or found.refused:
                break
        segments = found.segments
        mend_boots(found.boots, found.unsound_boots)
        mend(segments, found.boots)
        gone = holes(segments, found.batches)
        batches = found.cut_once()
        boots = _Boots(db, found, batches)
        for row_id in [row_id for row_id, batch in batches.items() if batch.confirmed]:
            del segments[row_id]
        next_id = next_segment_id(db)
        good = sorted(row_id for row_id, one in segments.items() if one.whole)
        for row_id in good:
            one = segments[row_id]
            _, (*_, body) = pages.row(one.place)
            kept = boots.of(row_id)
            assert isinstance(body, bytes)
            row = (next_id, kept, one.offset_us, one.level, one.readings, one.first_us, one.last_us)
            insert_packed(db, row, body)
            next_id += ID_STEP * one.readings
        for _, one in sorted(found.refused.items()):
            _, values = pages.row(one.place)
            db.execute(INSERT_REFUSED, values[1:])
    insert_notes(db, found.untold())
    db.executemany(INSERT_DELIVERED, [row for _, row in sorted(found.delivered.items())])
    db.executemany(INSERT_LOSS, [row for _, row in sorted(found.losses.items())])
    lost = [Hole(one.readings, one.first_us, one.last_us) for one in segments.values() if not one.whole] + gone
    for hole in sorted(lost, key=lambda hole: hole.first_us):
        insert_loss(db, Loss(reason, hole.readings, hole.first_us, hole.last_us, NoteKind.DAMAGED), now_us)
    return Salvaged(sum(segments[row_id].readings for row_id in good), sum(hole.readings for hole in lost))


class _Boots:
    """The boots of a damaged file, as the new one knows them."""

    def __init__(self, db: sqlite3.Connection, found: Survey, batches: Mapping[int, CutOnce]) -> None:
        self._db, self._found, self._batches = db, found, batches
        self._ids = {
            row_id: self._known(*boot)
            for row_id, boot in found.boots.items()
            if truth_of(row_id) is None and not is_held(row_id, boot[0])
        }
        # Segments of each boot that were in a batch which had a truth, ascending.
        self._cut: dict[int, list[int]] = {}
        for row_id, batch in sorted(batches.items()):
            if batch.true_us is not None:
                self._cut.setdefault(found.segments[row_id].boot, []).append(row_id)

    def _known(self, boot_id: str, offset_us: int | None, seen_us: int) -> int:
        row_id = insert_boot(self._db, boot_id, offset_us, seen_us)
        [[known_us]] = self._db.execute("SELECT offset_us FROM boot WHERE id = ?", (row_id,))
        if known_us is None and offset_us is not None:
            vouch(self._db, row_id, boot_id, offset_us)
        return row_id

    def of(self, segment: int) -> int:
        """The id for the boot of `segment`, which may have arrived, and with which truth.

        What its own row tells of it counts first, and its batch next. A batch of which nothing is left mostly had the
        truth of those beside it. Where nothing is known of its boot any more, nothing vouches for it, and its times
        stay as they are.
        """
        boot = self._found.segments[segment].boot
        name, true_us, seen_us = self._found.boots.get(boot, (str(boot), None, 0))
        batch = self._batches.get(segment)
        told_us = truth_of(boot)
        if told_us is not None and batch is None and not is_held(boot):
            return settled_boot(self._db, name, told_us, seen_us)
        if told_us is not None or is_held(boot, name):
            return held_boot(self._db, name, true_us if told_us is None else told_us, seen_us)
        if batch is not None:
            return held_boot(self._db, name, batch.true_us, seen_us)
        if (beside_us := self._beside_us(boot, segment)) is not None:
            return settled_boot(self._db, name, beside_us, seen_us)
        return self._ids.get(boot, 0)

    def _beside_us(self, boot: int, segment: int) -> int | None:
        """The truth of the batch that is nearest to `segment`, of those with segments of the same boot."""
        cut = self._cut.get(boot, [])
        place = bisect_left(cut, segment)
        nearest = min(cut[max(place - 1, 0) : place + 1], key=lambda other: abs(other - segment), default=None)
        return None if nearest is None else self._batches[nearest].true_us
