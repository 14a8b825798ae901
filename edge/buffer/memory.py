"""What is in memory alone, and waits for a commit."""

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from contract.notes import NoteKind
from edge.buffer.rows import Loss, Rejected
from edge.buffer.segments import span
from edge.buffer.state import BufferState
from edge.buffer.store import REJECTED_ROWS
from edge.frames import Frame
from edge.reading import Delivery, Reading

_OVERFLOW = "memory was full while the buffer could not be written"


class Item(msgspec.Struct):
    """What a driver gave at once: it is committed whole. `future` is set then, and cancelled when it is given up."""

    readings: Sequence[Reading]
    rejected: tuple[Rejected, ...]
    deliveries: Sequence[Delivery]
    frames: Sequence[Frame]
    future: asyncio.Future[None]
    since_s: float
    offset_us: int
    weight: int


class Memory:
    """Items, the oldest first; of more than `most` readings and messages the oldest are given up.

    `lost` is what was given up and is not recorded yet. `state` is told how much waits, and how much was lost.
    """

    def __init__(self, *, state: BufferState, most: int) -> None:
        self.lost: Loss | None = None
        self._state, self._most = state, most
        self._items: deque[Item] = deque()
        self._rejects: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def since_s(self) -> float:
        """When the oldest came, of which there is one."""
        return self._items[0].since_s

    def add(self, item: Item) -> None:
        self._items.append(item)
        self._state.waiting += item.weight
        self._bound()
        if item.rejected:
            # The file keeps the newest alone; what it would drop at once takes no memory until then.
            self._rejects.append(item)
            if len(self._rejects) > REJECTED_ROWS:
                self._rejects.popleft().rejected = ()

    def take(self, most: int) -> list[Item]:
        """The oldest items of one clock, `most` readings and messages unless a single one has more."""
        group: list[Item] = []
        count = 0
        while self._items and (not group or count + self._items[0].weight <= most):
            if group and self._items[0].offset_us != group[0].offset_us:
                break
            item = self._items.popleft()
            count += item.weight
            group.append(item)
        self._state.waiting -= count
        return group

    def give_back(self, group: Sequence[Item]) -> None:
        """What was taken could not be committed."""
        self._items.extendleft(reversed(group))
        self._state.waiting += sum(item.weight for item in group)
        self._bound()

    def committed(self, group: Sequence[Item], lost: Loss | None) -> None:
        """What was taken is on disk, and `lost`, as it was then, is recorded."""
        if lost is not None and self.lost is not None:
            rest = self.lost.readings - lost.readings
            self.lost = msgspec.structs.replace(self.lost, readings=rest) if rest > 0 else None
        for item in group:
            if not item.future.done():
                item.future.set_result(None)
        while self._rejects and self._rejects[0].future.done():
            self._rejects.popleft()

    def _bound(self) -> None:
        """Give up the oldest beyond the bound. What a broker waits for stays: it sends no more than its window."""
        if self._state.waiting <= self._most:
            return
        kept: deque[Item] = deque()
        while self._items and self._state.waiting > self._most:
            item = self._items.popleft()
            if item.deliveries:
                kept.append(item)
            else:
                self._overflow(item)
        self._items.extendleft(reversed(kept))

    def _overflow(self, item: Item) -> None:
        self._state.waiting -= item.weight
        item.future.cancel()
        if not item.readings:
            return
        first_us, last_us = span(item.readings)
        before = self.lost
        self._state.overflowed += len(item.readings)
        self.lost = Loss(
            _OVERFLOW,
            len(item.readings) + (before.readings if before else 0),
            min(first_us, before.first_us) if before else first_us,
            max(last_us, before.last_us) if before else last_us,
            NoteKind.OVERFLOWED,
        )
