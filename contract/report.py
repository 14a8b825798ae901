"""The report: how a gateway says it is doing. The newest replaces the one before; nothing depends on its arrival."""

import msgspec

from contract.terms import Count, TimeUs


class BacklogReport(msgspec.Struct, omit_defaults=True):
    """What waits at the gateway: readings without a receipt, the bytes they take, and the time they are of.

    `spans` are the times, both ends inclusive, of what waits, ascending and disjoint, at most 32; where there are more,
    neighbours are told as one.
    """

    readings: Count = 0
    bytes: Count = 0
    oldest_us: TimeUs | None = None
    spans: list[tuple[TimeUs, TimeUs]] = []


class BufferReport(msgspec.Struct, omit_defaults=True):
    """The gateway's disk. `written_bytes_a_day` is what the process writes at its present pace, None while unknown.

    `unwritable` says why nothing can be written, `set_aside` names damaged files that were kept.
    """

    used_bytes: Count = 0
    max_bytes: Count = 0
    free_disk_bytes: Count | None = None
    written_bytes_a_day: Count | None = None
    unwritable: str | None = None
    set_aside: list[str] = []


class ClockReport(msgspec.Struct, omit_defaults=True):
    """The gateway's clock. `offset_s` is how far it is ahead of the receiver's, None before the first answer.

    `synchronized` is the kernel's word, `corrected` counts readings whose time was computed.
    """

    offset_s: float | None = None
    synchronized: bool = False
    corrected: Count = 0


class GivenUp(msgspec.Struct, omit_defaults=True):
    """Readings that were read and are not delivered, since the stream began, by what took them (see NoteKind)."""

    thinned: Count = 0
    reduced: Count = 0
    overflowed: Count = 0
    damaged: Count = 0
    refused: Count = 0


class Report(msgspec.Struct, omit_defaults=True):
    """Of one gateway at `sent_us` by its own clock. Unknown fields are passed over, missing ones are the default."""

    software: str
    boot_id: str
    started_us: TimeUs
    sent_us: TimeUs
    stream: str
    next_seq: Count
    loss_window_s: float
    backlog: BacklogReport
    buffer: BufferReport
    clock: ClockReport
    given_up: GivenUp
    last_receipt_us: TimeUs | None = None
    meters: Count = 0
    silent_meters: Count = 0
    rejected_messages: Count = 0
    lost_notes: Count = 0
    """Reasons for gaps that there was no room for, since the stream began: such gaps count as unknown."""
    troubles: list[str] = []
    """What is wrong now, one line each; empty when all is well."""
