"""What the tables of the buffer hold, as the rest of the gateway sees it."""

import msgspec

from contract.notes import Note, NoteKind


class Loss(msgspec.Struct, frozen=True):
    """Readings that are gone, or lost values, why, and the time that they cover."""

    reason: str
    readings: int
    first_us: int
    last_us: int
    kind: NoteKind = NoteKind.THINNED

    @property
    def note(self) -> Note:
        """What the cloud is told of it."""
        return Note(self.kind, self.first_us, self.last_us, self.readings, detail=self.reason)


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
