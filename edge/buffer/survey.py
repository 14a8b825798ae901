"""What the raw pages of a damaged buffer say that was in it."""

from bisect import bisect_right

import msgspec
from msgspec.structs import replace

from contract.notes import Note, NoteKind
from edge.buffer.batch_rows import NO_TIME_US
from edge.buffer.pages import Pages, Place, Value
from edge.buffer.seal import batch_seal, boot_seal, segment_seal
from edge.buffer.segments import DamagedSegment, flats
from edge.buffer.tables import decoded_note
from edge.reading import Delivery
from edge.timekeeping import correction_us

_MAGIC = b"\x28\xb5\x2f\xfd"


class Found(msgspec.Struct):
    """The best copy of a row so far: `whole` where its body can be read, `sound` where its seal is not broken.

    `told` is what the row itself tells of its body: the number of readings, and their first and last time.
    """

    place: Place
    whole: bool
    readings: int
    first_us: int
    last_us: int
    boot: int = 0
    offset_us: int = 0
    level: int = 0
    seal: int = 0
    sound: bool = True
    told: tuple[int, int, int] = (0, 0, 0)

    @property
    def as_told(self) -> bool:
        return self.told == (self.readings, self.first_us, self.last_us)

    @property
    def worth(self) -> tuple[bool, bool, int]:
        return self.whole, self.sound, self.readings

    def sealed(self, row_id: int) -> bool:
        """Whether all that the row tells is as it was written under `row_id`."""
        numbers = (row_id, self.boot, self.offset_us, self.level, self.readings, self.first_us, self.last_us)
        return segment_seal(*numbers) == self.seal


class CutOnce(msgspec.Struct):
    """A batch that was cut of segments from `first_id` to `last_id`: of these times, with `true_us` as the truth.

    `arrived` says that there was a receipt for it, `confirmed` that the receiver had it long after that.
    """

    arrived: bool
    confirmed: bool
    readings: int
    first_id: int
    last_id: int
    true_us: int | None
    first_us: int
    last_us: int

    def had(self, row_id: int, segment: Found) -> bool:
        """Whether the segment was in it: by its id, and by its times, since either may be damaged."""
        if not self.first_id <= row_id <= self.last_id:
            return False
        shift_us = correction_us(segment.offset_us, self.true_us)
        earliest_us, latest_us = segment.first_us + min(0, shift_us), segment.last_us + max(0, shift_us)
        return latest_us >= self.first_us and earliest_us <= self.last_us


class Survey(msgspec.Struct):
    """The best copy of each segment and of each refused reading, and the boots, by row id; the batches there were.

    `unsound_boots` are rows of boots by their id and seal, which is broken. `notes` by
    their row ids, with the stream and number of the batch that they went in; `losses` by theirs, and
    `delivered`, a client with some of its deliveries, by theirs.
    """

    segments: dict[int, Found] = {}
    refused: dict[int, Found] = {}
    boots: dict[int, tuple[str, int | None, int]] = {}
    unsound_boots: dict[tuple[int, int], tuple[str, int | None, int]] = {}
    batches: dict[int, CutOnce] = {}
    notes: dict[int, tuple[tuple[int, int] | None, Note]] = {}
    losses: dict[int, tuple[Value, ...]] = {}
    delivered: dict[int, tuple[str, bytes]] = {}
    confirmed: set[tuple[int, int]] = set()

    def untold(self) -> list[Note]:
        """Notes that did not surely arrive."""
        return [note for _, (batch, note) in sorted(self.notes.items()) if batch is None or batch not in self.confirmed]

    def cut_once(self) -> dict[int, CutOnce]:
        """The batch of each segment that was in one, by the segment's id."""
        firsts = sorted(self.batches)
        found = {}
        for row_id, segment in self.segments.items():
            place = bisect_right(firsts, row_id)
            if place and (batch := self.batches[firsts[place - 1]]).had(row_id, segment):
                found[row_id] = batch
        return found


def survey(pages: Pages) -> Survey:
    """Everything in `pages` that reads as a row of a buffer. Places alone are kept: it may exceed the memory."""
    found = Survey()
    for place, row_id, values in pages.rows():
        if len(values) == 9:
            _keep(found.segments, row_id, _segment(place, row_id, values))
        elif len(values) == 7 and isinstance(values[2], str):
            if _is_loss(values):
                found.losses[row_id] = tuple(values[1:])
        elif len(values) == 7:
            _keep(found.refused, row_id, _refused(place, values))
        elif len(values) == 17 and (batch := _batch(values)) is not None:
            known = found.batches.get(batch.first_id)
            if batch.confirmed and isinstance(values[1], int) and isinstance(values[2], int):
                found.confirmed.add((values[1], values[2]))
            if known is None or not known.confirmed:
                found.batches[batch.first_id] = batch
        elif len(values) == 3:
            _keep_delivered(found, row_id, values)
        elif len(values) == 4:
            _keep_note(found, row_id, values)
        elif len(values) == 5:
            _keep_boot(found, row_id, values)
    return found


def _batch(values: list[Value]) -> CutOnce | None:
    """None for what is no batch, or an empty one."""
    seq, _, first_id, last_id, true_us, readings, first_us, last_us, sha256 = values[2:11]
    sealed, receipt_us, _, confirmed_us = values[13:]
    if (
        isinstance(seq, int)
        and isinstance(first_id, int)
        and isinstance(last_id, int)
        and isinstance(true_us, int | None)
        and isinstance(readings, int)
        and isinstance(first_us, int)
        and isinstance(last_us, int)
        and isinstance(sha256, bytes)
        and isinstance(receipt_us, int | None)
        and isinstance(confirmed_us, int | None)
        and sealed == batch_seal(seq, first_id, last_id, true_us, readings, first_us, last_us, sha256)
    ):
        arrived = receipt_us is not None and receipt_us > NO_TIME_US
        confirmed = arrived and confirmed_us is not None and confirmed_us > NO_TIME_US
        return CutOnce(arrived, confirmed, readings, first_id, last_id, true_us, first_us, last_us)
    return None


def _keep_note(found: Survey, row_id: int, values: list[Value]) -> None:
    _, stream, seq, body = values
    note = decoded_note(body) if isinstance(body, bytes) else None
    if note is not None and isinstance(stream, int | None) and isinstance(seq, int | None):
        found.notes[row_id] = (None if stream is None or seq is None else (stream, seq), note)


def _keep_boot(found: Survey, row_id: int, values: list[Value]) -> None:
    _, boot_id, offset_us, seen_us, sealed = values
    if (
        isinstance(boot_id, str)
        and isinstance(offset_us, int | None)
        and isinstance(seen_us, int)
        and isinstance(sealed, int)
    ):
        if sealed != boot_seal(row_id, boot_id, offset_us):
            found.unsound_boots[row_id, sealed] = (boot_id, offset_us, seen_us)
            return
        # What somebody vouched for is newer than what nobody did yet.
        before = found.boots.get(row_id)
        if before is None or before[1] is None:
            found.boots[row_id] = (boot_id, offset_us, seen_us)


def _keep_delivered(found: Survey, row_id: int, values: list[Value]) -> None:
    """A row only grows: the longest image of it is the newest."""
    _, client, recent = values
    if isinstance(client, str) and isinstance(recent, bytes) and len(recent) % Delivery.PACKED_BYTES == 0:
        known = found.delivered.get(row_id, ("", b""))
        found.delivered[row_id] = max(known, (client, recent), key=lambda row: len(row[1]))


def _is_loss(values: list[Value]) -> bool:
    _, kind, reason, *numbers = values
    return kind in set(NoteKind) and isinstance(reason, str) and all(isinstance(number, int) for number in numbers)


def _keep(found: dict[int, Found], row_id: int, one: Found | None) -> None:
    if one is not None and row_id > 0 and (row_id not in found or one.worth > found[row_id].worth):
        found[row_id] = one


def _segment(place: Place, row_id: int, values: list[Value]) -> Found | None:
    _, boot, offset_us, level, readings, first_us, last_us, sealed, body = values
    if not (
        isinstance(boot, int)
        and isinstance(offset_us, int)
        and isinstance(level, int)
        and isinstance(readings, int)
        and isinstance(first_us, int)
        and isinstance(last_us, int)
        and isinstance(sealed, int)
        and isinstance(body, bytes)
        and (body[:4] == _MAGIC or sealed == segment_seal(row_id, boot, offset_us, level, readings, first_us, last_us))
        and 0 <= level <= 2
        and 0 < readings < 1_000_000
        and first_us <= last_us
    ):
        return None
    told = Found(place, False, readings, first_us, last_us, boot, offset_us, level, sealed)
    told.told = readings, first_us, last_us
    told.sound = told.sealed(row_id)
    try:
        # What the row says of its body may be damaged where the body is not.
        times = [time_us for flat in flats(body) for time_us in flat.time_us]
    except DamagedSegment:
        return told
    found = replace(told, whole=True, readings=len(times), first_us=min(times), last_us=max(times))
    found.sound = found.sealed(row_id)
    # Where it is not damaged, the body is another's: of an old row, whose pages were given to that one.
    return told if told.sound and not found.as_told else found


def _refused(place: Place, values: list[Value]) -> Found | None:
    _, device, time_us, body, status, reason, refused_us = values
    if not (
        isinstance(device, str)
        and isinstance(time_us, int)
        and isinstance(body, bytes)
        and body[:4] == _MAGIC
        and isinstance(status, int)
        and isinstance(reason, str)
        and isinstance(refused_us, int)
    ):
        return None
    try:
        return Found(place, True, sum(len(flat.time_us) for flat in flats(body)), time_us, time_us)
    except DamagedSegment:
        return None
