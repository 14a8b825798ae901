"""What batches say: readings of segments, their times set right, and notes; and the bytes made of them."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from contract.batch import Batch, DeviceBlock, Flag
from contract.codec import PACKED, encode, encode_packed
from contract.notes import Note
from contract.packed import Flat
from edge.buffer.segments import DamagedSegment, flats
from edge.timekeeping import correction_us

_CORRECTED = int(Flag.TIME_CORRECTED)


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
