"""The pieces of an answer, as they are shown in JSON; times are ISO 8601, UTC."""

from typing import Any

import msgspec


class FoundReading(msgspec.Struct):
    """`time` is the one that the cloud has or gets, `stamped` what the gateway's clock showed where it was wrong then.

    `apart_s` is how far the reading is from the time that was asked for. `monotonic_s` counts from the start of `boot`.
    """

    device: str
    time: str
    apart_s: float
    values: dict[str, int | float]
    flags: list[str]
    interval_ms: int
    boot: str | None
    monotonic_s: float | None
    stamped: str | None
    corrected_by_s: float


class FoundSegment(msgspec.Struct):
    """The commit group in the buffer; `others` are the readings that went to disk in the same one."""

    id: int
    others: int
    level: str


class FoundReceipt(msgspec.Struct):
    """What the receiver said of the batch. `quarantined` is of the device alone: reason and readings."""

    received: str
    readings: int
    stored: int
    duplicates: int
    quarantined: list[dict[str, Any]]


class FoundBatch(msgspec.Struct):
    """`confirmed` is when its segments were deleted, after the receiver was asked once more."""

    stream: str
    seq: int
    lane: str
    cut: str
    readings: int
    first: str
    last: str
    sha256: str
    receipt: FoundReceipt | None
    confirmed: str | None


class FoundNote(msgspec.Struct):
    """Why there is nothing, or less: of a span of time. `device` is None where it holds for all."""

    kind: str
    first: str
    last: str
    readings: int
    device: str | None
    detail: str


class FoundRefused(msgspec.Struct):
    """The reading itself, set aside because the receiver will not have it."""

    time: str
    status: int
    reason: str
    refused: str


class FoundFrame(msgspec.Struct):
    """What came over the wire. `values` are what it gives when it is decoded again, `same` whether the reading has
    them; None, with the reason in `why_not`, where that cannot be done."""

    time: str
    kind: str
    raw: list[str]
    values: dict[str, int | float]
    same: bool | None
    why_not: str | None


class Answer(msgspec.Struct):
    """`said` is the answer in a sentence; `waits_for` is what has to happen next, None where nothing has to."""

    device: str
    asked: str
    said: str = ""
    frame: FoundFrame | None = None
    reading: FoundReading | None = None
    segment: FoundSegment | None = None
    batches: list[FoundBatch] = []
    refused: list[FoundRefused] = []
    given_up: list[FoundNote] = []
    not_read: list[FoundNote] = []
    waits_for: str | None = None

    @property
    def known(self) -> bool:
        return bool(self.frame or self.reading or self.batches or self.refused or self.given_up or self.not_read)
