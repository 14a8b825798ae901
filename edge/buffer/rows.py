"""What the tables of the buffer hold, as the rest of the gateway sees it."""

from collections.abc import Sequence

import msgspec

from edge.buffer.segments import pack, span
from edge.reading import Reading

INSERT_SEGMENT = "INSERT INTO segment (id, readings, first_us, last_us, thinned, body) VALUES (?, ?, ?, ?, ?, ?)"
SELECT_BACKLOG = """
SELECT coalesce(sum(readings), 0), coalesce(sum(length(body)), 0), min(first_us)
FROM (SELECT readings, body, first_us FROM segment UNION ALL SELECT readings, body, first_us FROM batch)
"""
"""The columns of Backlog, for the daemon and for who looks at the file from outside."""


def segment_row(readings: Sequence[Reading], *, row_id: int | None = None, thinned: bool = False) -> tuple[object, ...]:
    """The values for INSERT_SEGMENT; without `row_id` the segment comes after all others."""
    return (row_id, len(readings), *span(readings), int(thinned), pack(readings))


class Loss(msgspec.Struct, frozen=True):
    """Readings that are gone, why, and the time that they cover."""

    reason: str
    readings: int
    first_us: int
    last_us: int

    @classmethod
    def of_damage(cls, readings: int, first_us: int, last_us: int) -> "Loss":
        """A segment that can no longer be read; how many readings it had, and of when, stands beside its body."""
        return cls("damaged on the disk", readings, first_us, last_us)


class Rejected(msgspec.Struct, frozen=True):
    """A message that no decoder could read."""

    topic: str
    payload: bytes
    reason: str
    received_us: int


class Backlog(msgspec.Struct, frozen=True):
    """What waits to be synced: readings without a receipt, and the bytes of their bodies."""

    readings: int
    bytes: int
    oldest_us: int | None
