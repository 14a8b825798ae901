"""The receipt: what the receiver has committed of a batch. Only a receipt allows a gateway to delete a batch."""

import msgspec

from contract.terms import Count, Seq


class Quarantined(msgspec.Struct):
    """Readings or single values of one device that were set aside, and why.

    `reason` is one of `unknown_device`, `future`, `too_old`, `out_of_range`, `not_a_number`, `not_an_integer`,
    `unknown_quantity`, `conflict`. The first three hold whole readings, the others single values: the rest of
    such a reading is stored.
    """

    device: str
    reason: str
    readings: Count


class Receipt(msgspec.Struct):
    """The answer to a batch, the same one however often the batch is sent.

    `readings` of the batch were counted; `stored` rows are new, `duplicates` were there already with the same values
    or were completed by this batch. Readings set aside whole make up the rest, and are in `quarantined`.
    """

    version: int
    stream: str
    seq: Seq
    sha256: str
    readings: Count
    stored: Count
    duplicates: Count
    quarantined: list[Quarantined]


class StreamState(msgspec.Struct):
    """What the receiver has of a stream: inclusive ranges of sequence numbers, ascending.

    `media_types` are the forms of batches that it takes; a receiver of 0.1.0 says none, and takes version 1.
    `note_kinds` are the kinds of notes; one that says none takes those in `contract.notes.FIRST_KINDS`.
    """

    stream: str
    received: list[tuple[int, int]]
    media_types: list[str] = []
    note_kinds: list[str] = []
