"""Readings that are not even seen any more in a damaged buffer: ids count readings, so there is a hole."""

from collections.abc import Mapping

import msgspec

from edge.buffer.survey import CutOnce, Found
from edge.buffer.tables import ID_STEP


class Hole(msgspec.Struct, frozen=True):
    """`readings` between two that are known, of a time between theirs, in microseconds."""

    readings: int
    first_us: int
    last_us: int


class _Known(msgspec.Struct, order=True):
    """Readings from number `first` to before `end`. `end` is 0 where it is not known, since some were thinned out."""

    first: int
    end: int
    first_us: int
    last_us: int


def holes(segments: Mapping[int, Found], batches: Mapping[int, CutOnce]) -> list[Hole]:
    """Between the segments that are seen, be they readable or not, and the batches that arrived, by their ids."""
    known = [
        _Known(row_id // ID_STEP, row_id // ID_STEP + one.readings if one.level == 0 else 0, one.first_us, one.last_us)
        for row_id, one in segments.items()
    ]
    for batch in batches.values():
        if batch.arrived:
            first, last = batch.first_id // ID_STEP, batch.last_id // ID_STEP
            known.append(_Known(first, max(first + batch.readings, last + 1), batch.first_us, batch.last_us))
    found = []
    before: _Known | None = None
    for one in sorted(known):
        if before is not None and before.end and one.first > before.end:
            span_us = sorted((before.last_us, one.first_us))
            found.append(Hole(one.first - before.end, *span_us))
        if before is None or one.end == 0 or one.end > before.end:
            before = one
    return found
