"""Cut batches: which segments are in one, and the bytes that are made of them, however often."""

import sqlite3
from collections.abc import Iterable, Sequence
from enum import IntEnum

import msgspec

from contract.batch import Batch, DeviceBlock, Flag
from contract.codec import PACKED, checksum, compress, encode, encode_packed
from contract.notes import Note
from contract.packed import Flat
from edge.buffer.segments import DamagedSegment, flats
from edge.buffer.tables import notes_of

ENCODING = "zstd"
# The slow change of a clock that is being disciplined is no step.
STEP_US = 500_000
_CORRECTED = int(Flag.TIME_CORRECTED)


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
    body: bytes | None = None
    """Compressed, while it waits for its receipt; made anew where this is None."""

    @property
    def delivered(self) -> bool:
        return self.receipt_us is not None

    @property
    def segments(self) -> tuple[int, int] | None:
        return None if self.first_id is None or self.last_id is None else (self.first_id, self.last_id)


class Content(msgspec.Struct):
    """What a batch says. `damaged` are ids of segments that cannot be read any more; nothing of them is in it."""

    groups: list[Flat]
    notes: list[Note]
    damaged: list[int]

    @property
    def corrected(self) -> int:
        """How many of its readings have a time that was set right."""
        return sum(1 for flat in self.groups for flag in flat.flags if flag & _CORRECTED)

    @property
    def readings(self) -> int:
        return sum(len(flat.time_us) for flat in self.groups)

    @property
    def span(self) -> tuple[int, int]:
        """First and last time of its readings, of its notes where it has none, 0 where it has neither."""
        times = [time_us for flat in self.groups for time_us in flat.time_us]
        times = times or [time_us for note in self.notes for time_us in (note.first_us, note.last_us)]
        return (min(times), max(times)) if times else (0, 0)

    def encoded(self, *, stream: str, seq: int, media_type: str) -> bytes:
        """The batch before compression. Only the packed form has notes: another is for a receiver without."""
        if media_type == PACKED:
            return encode_packed(stream, seq, self.notes, [flat.pack() for flat in self.groups])
        blocks = [block for flat in self.groups for block in _blocks(flat)]
        return encode(Batch(version=1, stream=stream, seq=seq, devices=blocks), media_type)


def content(db: sqlite3.Connection, *, ids: tuple[int, int] | None, true_us: int | None) -> Content:
    """Of the segments in the inclusive range `ids`, in the order of their commits, device by device. Without notes."""
    merged: dict[tuple[str, ...], _Merged] = {}
    damaged = []
    if ids is not None:
        rows = db.execute("SELECT id, offset_us, body FROM segment WHERE id BETWEEN ? AND ? ORDER BY id", ids)
        for row_id, offset_us, body in rows:
            try:
                found = flats(body)
                shift_us = correction_us(offset_us, true_us)
            except (DamagedSegment, TypeError):
                damaged.append(row_id)
                continue
            for flat in found:
                merged.setdefault(tuple(flat.values), _Merged(list(flat.values))).add(flat, shift_us)
    return Content([one.flat() for one in merged.values()], [], damaged)


def correction_us(offset_us: int, true_us: int | None) -> int:
    """What is to be added to times of a clock that was `offset_us` ahead of the monotonic one."""
    return 0 if true_us is None or abs(true_us - offset_us) <= STEP_US else true_us - offset_us


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


class _Merged:
    """Readings of several segments that have the same quantities, by device and its interval."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._lists: dict[tuple[str, int], list[list[int | float]]] = {}

    def add(self, flat: Flat, shift_us: int) -> None:
        times, flags = flat.time_us, flat.flags
        if shift_us:
            own = [not flag & Flag.TIME_FROM_DEVICE for flag in flags]
            times = [time + shift_us if mine else time for time, mine in zip(times, own, strict=True)]
            flags = [flag | Flag.TIME_CORRECTED if mine else flag for flag, mine in zip(flags, own, strict=True)]
        columns: list[Sequence[int | float]] = [times, flags, *flat.values.values()]
        keys = zip(flat.devices, flat.interval_ms, strict=True)
        if len(flat.devices) == len(times):
            for key, *row in zip(keys, *columns, strict=True):
                for values, value in zip(self._of(key), row, strict=True):
                    values.append(value)
            return
        end = 0
        for key, count in zip(keys, flat.counts, strict=True):
            begin, end = end, end + count
            for values, column in zip(self._of(key), columns, strict=True):
                values += column[begin:end]

    def _of(self, key: tuple[str, int]) -> list[list[int | float]]:
        lists = self._lists.get(key)
        if lists is None:
            lists = self._lists[key] = [[] for _ in range(2 + len(self._names))]
        return lists

    def flat(self) -> Flat:
        lists = self._lists.values()
        times, flags, *columns = ([value for one in lists for value in one[n]] for n in range(2 + len(self._names)))
        return Flat(
            devices=[device for device, _ in self._lists],
            counts=[len(one[0]) for one in lists],
            interval_ms=[interval_ms for _, interval_ms in self._lists],
            time_us=times,  # type: ignore[arg-type] # integers went in
            flags=flags,  # type: ignore[arg-type]
            values=dict(zip(self._names, columns, strict=True)),
        )


def _blocks(flat: Flat) -> Iterable[DeviceBlock]:
    end = 0
    for device, count, interval_ms in zip(flat.devices, flat.counts, flat.interval_ms, strict=True):
        begin, end = end, end + count
        flags = flat.flags[begin:end]
        yield DeviceBlock(
            device=device,
            time_us=flat.time_us[begin:end],
            values={name: [*column[begin:end]] for name, column in flat.values.items()},
            flags=flags if any(flags) else None,
            interval_ms=interval_ms,
        )
