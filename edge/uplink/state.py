"""What the uplink says of itself."""

import msgspec


class LaneState(msgspec.Struct):
    """Counters of one lane; `trouble` is what keeps its batches from being sent right now."""

    batches: int = 0
    readings: int = 0
    failures: int = 0
    trouble: str | None = None


class UplinkState(msgspec.Struct):
    """Counters since the daemon started.

    `refused` counts batches that the receiver would not have, `refused_readings` single readings set aside for it,
    `resent` batches that the receiver had given a receipt for and has lost, `renumbered` streams begun anew.
    `version` is that of the batches that the receiver takes, 0 before it was asked. `credit` is how many batches of
    backlog it lets come at once. `trouble` is what keeps batches from being sent right now.
    """

    batches: int = 0
    readings: int = 0
    attempts: int = 0
    failures: int = 0
    refused: int = 0
    refused_readings: int = 0
    quarantined: int = 0
    resent: int = 0
    renumbered: int = 0
    reports: int = 0
    version: int = 0
    credit: int = 1
    last_receipt_us: int | None = None
    trouble: str | None = None
    live: LaneState = msgspec.field(default_factory=LaneState)
    backlog: LaneState = msgspec.field(default_factory=LaneState)
