"""Notes: what a gateway says of times for which readings are missing or changed, so that every gap has its reason."""

from collections.abc import Collection
from enum import StrEnum
from typing import Annotated

import msgspec

from contract.terms import Count, DeviceKey, TimeUs

GAP_INTERVALS = 1.5
"""Between readings further apart than so many intervals of their device, the gateway tells the reason.

Whether one is missing there says the rate, once what follows is known: `meter_completeness` in the telemetry database
finds none in a gap that is shorter, but where a device is late all the time.
"""

NEIGHBOUR_S, NEIGHBOUR_INTERVALS = 60.0, 10
"""Gaps for one reason that are at most so far apart, whichever is longer, are told as one.

The gateway tells polls left out so, and `meter_completeness` what it lists for people.
"""


class NoteKind(StrEnum):
    """Why. The first four took readings that had been read; `readings` counts them, and with `OVERRUN` polls."""

    THINNED = "thinned"
    """Given up to make room in a full buffer."""
    OVERFLOWED = "overflowed"
    """Given up in memory, while the buffer's disk refused writes."""
    DAMAGED = "damaged"
    """On a disk that no longer gives back what was written."""
    REFUSED = "refused"
    """Kept at the gateway: the receiver will not have them as they are."""
    REDUCED = "reduced"
    """Still there, with their energy registers alone."""
    SILENT = "silent"
    """Never read: the device did not answer, or did not publish."""
    NOT_RUNNING = "not_running"
    """Never read: the gateway was not running."""
    CORRECTED = "corrected"
    """Read while the gateway's clock was wrong; their times are computed, and flagged."""
    OVERRUN = "overrun"
    """Some never read: polls were left out, since their line was busy when they were due. `readings` counts them; in
    the same span others were read."""


FIRST_KINDS = frozenset(NoteKind) - {NoteKind.OVERRUN}
"""What every receiver of notes takes; one that takes more names all that it takes (`StreamState.note_kinds`)."""
_IN_OLDER_TERMS = {NoteKind.OVERRUN: NoteKind.SILENT}


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One reason for one span of time, both ends inclusive, microseconds since 1970.

    `device` is the device that it holds for, None for all of the gateway's. `detail` is for people.
    """

    kind: NoteKind
    first_us: TimeUs
    last_us: TimeUs
    readings: Count = 0
    device: DeviceKey | None = None
    detail: Annotated[str, msgspec.Meta(max_length=500)] = ""


def told(note: Note, kinds: Collection[str]) -> Note:
    """`note` to a receiver that takes `kinds`: to it, a batch with any other would be malformed.

    A kind that came later is told as the one that comes nearest to it, which counts no readings.
    """
    if note.kind in kinds or note.kind not in _IN_OLDER_TERMS:
        return note
    return msgspec.structs.replace(note, kind=_IN_OLDER_TERMS[note.kind], readings=0)
