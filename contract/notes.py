"""Notes: what a gateway says of times for which readings are missing or changed, so that every gap has its reason."""

from enum import StrEnum
from typing import Annotated

import msgspec

from contract.terms import Count, DeviceKey, TimeUs

GAP_INTERVALS = 1.5
"""Readings further apart than so many intervals of their device have a gap between them.

The gateway tells the reasons of gaps, and `meter_completeness` in the telemetry database asks for them.
"""


class NoteKind(StrEnum):
    """Why. The first four took readings that had been read; `readings` counts them."""

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
