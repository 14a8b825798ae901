"""Cut batches: which segments are in one, and the bytes that are made of them, however often."""

import sqlite3
from enum import IntEnum

import msgspec

from contract.codec import checksum, compress
from edge.buffer.content import content
from edge.buffer.segments import DamagedSegment
from edge.buffer.tables import notes_of

ENCODING = "zstd"


class Lane(IntEnum):
    """Which way a batch goes: the newest readings, or those that have to wait for room."""

    LIVE = 0
    BACKLOG = 1


class CutBatch(msgspec.Struct, frozen=True):
    """A batch ready to be sent: `body` is the encoded batch of checksum `sha256` under `encoding`."""

    stream: str
    seq: int
    lane: Lane
    readings: int
    first_us: int
    last_us: int
    sha256: str
    media_type: str
    encoding: str
    body: bytes


class Cut(msgspec.Struct):
    """A batch that is numbered. Its segments are those from `first_id` to `last_id`, none where these are None.

    `true_us` is the wall time less the monotonic time of their boot, where it was known; times that the gateway's clock
    gave, and that are off by more than half a second, are set right by it. `kept` and `size` are readings and bytes of
    the bodies of its segments.
    """

    seq: int
    lane: Lane
    first_id: int | None
    last_id: int | None
    true_us: int | None
    readings: int
    first_us: int
    last_us: int
    sha256: bytes
    media_type: str
    kept: int
    size: int
    receipt_us: int | None = None
    sound: bool = True
    """Whether its row is as it was written."""
    body: bytes | None = None
    """Compressed, while it waits for its receipt; made anew where this is None."""

    @property
    def delivered(self) -> bool:
        return self.receipt_us is not None

    @property
    def segments(self) -> tuple[int, int] | None:
        return None if self.first_id is None or self.last_id is None else (self.first_id, self.last_id)


def made(db: sqlite3.Connection, cut: Cut, *, stream_id: int, stream: str) -> CutBatch:
    """`cut` with its bytes. Raises DamagedSegment where they are not those any more that it was cut with."""
    if cut.body is None:
        found = content(db, ids=cut.segments, true_us=cut.true_us)
        found.notes = notes_of(db, stream_id, cut.seq)
        body = found.encoded(stream=stream, seq=cut.seq, media_type=cut.media_type)
        if found.damaged or bytes.fromhex(checksum(body)) != cut.sha256:
            raise DamagedSegment(f"batch {cut.seq} cannot be made as it was cut")
        cut.body = compress(body, ENCODING)
    return CutBatch(
        stream=stream,
        seq=cut.seq,
        lane=cut.lane,
        readings=cut.readings,
        first_us=cut.first_us,
        last_us=cut.last_us,
        sha256=cut.sha256.hex(),
        media_type=cut.media_type,
        encoding=ENCODING,
        body=cut.body,
    )
