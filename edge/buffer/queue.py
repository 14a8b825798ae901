"""The way into the buffer: readings wait in memory for the next group commit, never longer than the loss window.

The file may be opened late, and anew: while its disk is full, failing or not there, readings wait in memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
import structlog

from contract.notes import Note, NoteKind
from edge.buffer.deliveries import RecentDeliveries
from edge.buffer.rows import Loss, Rejected
from edge.buffer.segments import span
from edge.buffer.store import PAYLOAD_BYTES, REJECTED_ROWS, Store
from edge.clock import STEP_S, Clock, either, signalled
from edge.errors import BufferUnwritable
from edge.frames import Frame
from edge.reading import Delivery, Reading
from edge.repeats import Repeats

_Result = TypeVar("_Result")

_LOG = structlog.get_logger("edge.buffer")
_RETRY_S = 1.0
_ROOM_CHECK_S = 10.0
_MOST_NOTES = 10_000
_OVERFLOW = "memory was full while the buffer could not be written"


class _Item(msgspec.Struct):
    readings: Sequence[Reading]
    rejected: tuple[Rejected, ...]
    deliveries: Sequence[Delivery]
    frames: Sequence[Frame]
    future: asyncio.Future[None]
    since_s: float
    offset_us: int
    weight: int


class BufferState(msgspec.Struct):
    """Counters since the daemon started. `waiting` readings are in memory only; `unwritable` says why, if so."""

    committed: int = 0
    commits: int = 0
    waiting: int = 0
    overflowed: int = 0
    unwritable: str | None = None


class BufferQueue:
    """The drivers' sink. `run` opens the store and commits groups until its stop; what is left is for `commit`.

    `offset_us` gives the wall clock less the monotonic one, the same while the clock does not step: what was read by
    different clocks is not committed together.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        commit_interval_s: float,
        commit_readings: int,
        memory_readings: int,
        offset_us: Callable[[], int] = lambda: 0,
        moving: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = BufferState()
        self.news = asyncio.Event()
        """Set at each commit; who waits for readings to send clears it."""
        self.opened = asyncio.Event()
        """Set once the store is open, and what was delivered before is known."""
        self._store, self._clock, self._moving = store, clock, moving
        self._offset_us = offset_us
        self._interval_s, self._group, self._memory = commit_interval_s, commit_readings, memory_readings
        self._items: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._deliveries = RecentDeliveries()
        self._notes: deque[Note] = deque(maxlen=_MOST_NOTES)
        self._rejects: deque[_Item] = deque()
        self._hurry = False
        self._lost: Loss | None = None
        self._repeats = Repeats(clock=clock)
        self._room_checked_s = float("-inf")

    @property
    def store(self) -> Store:
        """To be used once it is `opened`."""
        return self._store

    def put(
        self, readings: Sequence[Reading], *, deliveries: Sequence[Delivery] = (), frames: Sequence[Frame] = ()
    ) -> asyncio.Future[None]:
        return self._add(tuple(readings), (), deliveries, frames).future

    def note(self, note: Note) -> None:
        """To be committed with the next readings, or soon without any."""
        self._notes.append(note)
        self._arrived.set()

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        rejected = Rejected(topic, payload[:PAYLOAD_BYTES], reason, self._clock.now_us())
        item = self._add((), (rejected,), () if delivery is None else (delivery,))
        # The file keeps the newest alone; what it would drop at once takes no memory until then.
        self._rejects.append(item)
        if len(self._rejects) > REJECTED_ROWS:
            self._rejects.popleft().rejected = ()
        return item.future

    def committed(self, delivery: Delivery) -> bool:
        return delivery in self._deliveries

    def hurry(self) -> None:
        if self._items:
            self._hurry = True
            self._full.set()

    def _add(
        self,
        readings: tuple[Reading, ...],
        rejected: tuple[Rejected, ...],
        deliveries: Sequence[Delivery],
        frames: Sequence[Frame] = (),
    ) -> _Item:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        weight = len(readings) + len(rejected)
        now_s = self._clock.monotonic_s()
        item = _Item(readings, rejected, deliveries, frames, future, now_s, self._offset_us(), weight)
        self._items.append(item)
        self.state.waiting += item.weight
        self._arrived.set()
        if self.state.waiting >= self._group:
            self._full.set()
        self._bound_memory()
        return item

    def _bound_memory(self) -> None:
        """Give up the oldest beyond the bound. What a broker waits for stays: it sends no more than its window."""
        if self.state.waiting <= self._memory:
            return
        kept: deque[_Item] = deque()
        while self._items and self.state.waiting > self._memory:
            item = self._items.popleft()
            if item.deliveries:
                kept.append(item)
            else:
                self._overflow(item)
        self._items.extendleft(reversed(kept))

    def _overflow(self, item: _Item) -> None:
        self.state.waiting -= item.weight
        item.future.cancel()
        if not item.readings:
            return
        first_us, last_us = span(item.readings)
        before = self._lost
        self.state.overflowed += len(item.readings)
        self._lost = Loss(
            _OVERFLOW,
            len(item.readings) + (before.readings if before else 0),
            min(first_us, before.first_us) if before else first_us,
            max(last_us, before.last_us) if before else last_us,
            NoteKind.OVERFLOWED,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Commit groups until `stop`, again and again while the disk refuses."""
        while not stop.is_set() and not await self._open():
            await signalled(stop, _RETRY_S)
        while not stop.is_set():
            self._moving()
            await self._wait_for_group(stop)
            if (self._items or self._notes) and not await self.commit():
                await signalled(stop, _RETRY_S)

    async def _open(self) -> bool:
        """Raises BufferFormat."""
        self._moving()
        try:
            # A large file takes its time to be looked through.
            await self._while_moving(self._store.open())
            self._deliveries.add(await self._store.deliveries())
        except BufferUnwritable as error:
            self._refused(error)
            return False
        self.opened.set()
        return True

    async def _while_moving(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        task = asyncio.create_task(work, name="buffer")
        try:
            while not task.done():
                self._moving()
                await asyncio.wait({task}, timeout=STEP_S)
        finally:
            # Its thread is not broken off, and is waited for where this task is.
            task.cancel()
            await asyncio.wait({task})
        return task.result()

    def _refused(self, error: BufferUnwritable) -> None:
        self.state.unwritable = error.reason
        if (count := self._repeats.due("buffer")) is not None:
            waiting = self.state.waiting
            _LOG.error("buffer unwritable", reason=self.state.unwritable, waiting=waiting, not_logged=count)

    async def _wait_for_group(self, stop: asyncio.Event) -> None:
        if not self._items and not self._notes:
            self._arrived.clear()
            await either(stop, self._arrived, STEP_S)
        if self._items and self._interval_s > 0 and self.state.waiting < self._group and not self._hurry:
            self._full.clear()
            deadline_s = self._items[0].since_s + self._interval_s
            while (left_s := deadline_s - self._clock.monotonic_s()) > 0:
                self._moving()
                if await either(stop, self._full, min(left_s, STEP_S)):
                    return

    async def commit(self) -> bool:
        """Commit what waits, in groups; False when the disk refuses, and then it goes on waiting."""
        self._hurry = False
        # What comes meanwhile has a commit interval of its own.
        left = len(self._items)
        while (self._items and left > 0) or self._notes:
            group = self._next_group()
            left -= len(group)
            readings = [reading for item in group for reading in item.readings]
            lost, notes = self._lost, list(self._notes)
            deliveries = [delivery for item in group for delivery in item.deliveries]
            try:
                await self._store.commit(
                    readings,
                    offset_us=group[0].offset_us if group else 0,
                    rejected=[row for item in group for row in item.rejected],
                    deliveries=deliveries,
                    losses=[lost] if lost else [],
                    notes=notes,
                    frames=[frame for item in group for frame in item.frames],
                )
            except BufferUnwritable as error:
                self._return(group)
                self._refused(error)
                if error.reopen:
                    await self._open()
                return False
            except BaseException:
                self._return(group)
                raise
            self._committed(group, readings, deliveries, lost)
            for note in notes:
                if self._notes and self._notes[0] is note:
                    self._notes.popleft()
            await self._make_room()
        return True

    def _next_group(self) -> list[_Item]:
        group: list[_Item] = []
        count = 0
        while self._items and (not group or count + self._items[0].weight <= self._group):
            if group and self._items[0].offset_us != group[0].offset_us:
                break
            item = self._items.popleft()
            count += item.weight
            group.append(item)
        self.state.waiting -= count
        return group

    def _return(self, group: Sequence[_Item]) -> None:
        self._items.extendleft(reversed(group))
        self.state.waiting += sum(item.weight for item in group)
        self._bound_memory()

    def _committed(
        self, group: Sequence[_Item], readings: Sequence[Reading], deliveries: Sequence[Delivery], lost: Loss | None
    ) -> None:
        self._deliveries.add(deliveries)
        if lost is not None and self._lost is not None:
            rest = self._lost.readings - lost.readings
            self._lost = msgspec.structs.replace(self._lost, readings=rest) if rest > 0 else None
        self.state.committed += len(readings)
        self.state.commits += 1
        self.state.unwritable = None
        if self._repeats.over("buffer"):
            _LOG.info("buffer written again", waiting=self.state.waiting)
        for item in group:
            if not item.future.done():
                item.future.set_result(None)
        while self._rejects and self._rejects[0].future.done():
            self._rejects.popleft()
        self.news.set()

    async def _make_room(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._room_checked_s < _ROOM_CHECK_S:
            return
        try:
            await self._store.check()
            losses = await self._while_moving(self._store.make_room())
        except BufferUnwritable as error:
            self._refused(error)
            if error.reopen:
                await self._open()
            return
        if not losses:
            self._room_checked_s = now_s
        elif (count := self._repeats.due("room")) is not None:
            given_up = sum(loss.readings for loss in losses)
            _LOG.warning("buffer full", given_up=given_up, reason=losses[-1].reason, not_logged=count)
