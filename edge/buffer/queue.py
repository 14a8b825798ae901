"""The way into the buffer: readings wait in memory for the next group commit, never longer than the loss window.

The file may be opened late, and anew: while its disk is full, failing or not there, readings wait in memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from contract.notes import Note
from edge.buffer.deliveries import RecentDeliveries
from edge.buffer.memory import Item, Memory
from edge.buffer.rows import Rejected
from edge.buffer.state import BufferState
from edge.buffer.store import PAYLOAD_BYTES, Store
from edge.clock import STEP_S, Clock, either, signalled
from edge.errors import BufferUnwritable
from edge.frames import Frame
from edge.reading import Delivery, Reading, unspeakable
from edge.repeats import Repeats

_Result = TypeVar("_Result")

_LOG = structlog.get_logger("edge.buffer")
_RETRY_S = 1.0
_ROOM_CHECK_S = 10.0
_MOST_NOTES = 10_000


class BufferQueue:
    """The drivers' sink. `run` opens the store and commits groups until its stop; what is left is for `commit`.

    `epoch_offset_us` takes the wall clock less the monotonic one as a reading was stamped by it, and gives one that is
    the same while the clock does not step: what was stamped by different clocks is not committed together.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        commit_interval_s: float,
        commit_readings: int,
        memory_readings: int,
        epoch_offset_us: Callable[[int], int] = lambda _: 0,
        moving: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = BufferState()
        self.news = asyncio.Event()
        """Set at each commit; who waits for readings to send clears it."""
        self.opened = asyncio.Event()
        """Set once the store is open, and what was delivered before is known."""
        self._store, self._clock, self._moving = store, clock, moving
        self._epoch_offset_us = epoch_offset_us
        self._interval_s, self._group = commit_interval_s, commit_readings
        self._memory = Memory(state=self.state, most=memory_readings)
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._deliveries = RecentDeliveries()
        self._notes: deque[Note] = deque()
        self._lost_notes = 0
        self._hurry = False
        self._repeats = Repeats(clock=clock)
        self._room_checked_s = float("-inf")

    @property
    def store(self) -> Store:
        """To be used once it is `opened`."""
        return self._store

    def put(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int,
        deliveries: Sequence[Delivery] = (),
        frames: Sequence[Frame] = (),
    ) -> asyncio.Future[None]:
        reasons = list(map(unspeakable, readings))
        if not any(reasons):
            return self._add(tuple(readings), (), offset_us, deliveries, frames).future
        said = list(zip(readings, reasons, strict=True))
        rejected = tuple(self._rejected(reading, reason) for reading, reason in said if reason)
        spoken = tuple(one for one, reason in said if not reason)
        return self._add(spoken, rejected, offset_us, deliveries, frames).future

    def _rejected(self, reading: Reading, reason: str) -> Rejected:
        topic, told = (text.encode(errors="backslashreplace") for text in (reading.device, repr(reading)))
        return Rejected(topic.decode(), told[:PAYLOAD_BYTES], reason, self._clock.now_us())

    def note(self, note: Note) -> None:
        """To be committed with the next readings, or soon without any. Of too many the oldest go."""
        self._notes.append(note)
        if len(self._notes) > _MOST_NOTES:
            self._notes.popleft()
            self.lost_notes(1)
        self._arrived.set()

    def lost_notes(self, count: int) -> None:
        """So many will not be told, to be counted with the next commit."""
        self._lost_notes += count

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        rejected = Rejected(topic, payload[:PAYLOAD_BYTES], reason, self._clock.now_us())
        deliveries = () if delivery is None else (delivery,)
        return self._add((), (rejected,), self._clock.offset_us(), deliveries).future

    def committed(self, delivery: Delivery) -> bool:
        return delivery in self._deliveries

    def hurry(self) -> None:
        if self._memory:
            self._hurry = True
            self._full.set()

    def _add(
        self,
        readings: tuple[Reading, ...],
        rejected: tuple[Rejected, ...],
        offset_us: int,
        deliveries: Sequence[Delivery],
        frames: Sequence[Frame] = (),
    ) -> Item:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        weight = len(readings) + len(rejected)
        now_s = self._clock.monotonic_s()
        item = Item(readings, rejected, deliveries, frames, future, now_s, self._epoch_offset_us(offset_us), weight)
        self._memory.add(item)
        self._arrived.set()
        if self.state.waiting >= self._group:
            self._full.set()
        return item

    async def run(self, stop: asyncio.Event) -> None:
        """Commit groups until `stop`, again and again while the disk refuses."""
        while not stop.is_set() and not await self._open():
            await signalled(stop, _RETRY_S)
        while not stop.is_set():
            self._moving()
            await self._wait_for_group(stop)
            if (self._memory or self._notes) and not await self.commit():
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
        if not self._memory and not self._notes:
            self._arrived.clear()
            await either(stop, self._arrived, STEP_S)
        if self._memory and self._interval_s > 0 and self.state.waiting < self._group and not self._hurry:
            self._full.clear()
            deadline_s = self._memory.since_s + self._interval_s
            while (left_s := deadline_s - self._clock.monotonic_s()) > 0:
                self._moving()
                if await either(stop, self._full, min(left_s, STEP_S)):
                    return

    async def commit(self) -> bool:
        """Commit what waits, in groups; False when the disk refuses, and then it goes on waiting."""
        self._hurry = False
        # What comes meanwhile has a commit interval of its own.
        left = len(self._memory)
        while (self._memory and left > 0) or self._notes:
            group = self._memory.take(self._group)
            left -= len(group)
            readings = [reading for item in group for reading in item.readings]
            lost, notes, lost_notes = self._memory.lost, list(self._notes), self._lost_notes
            deliveries = [delivery for item in group for delivery in item.deliveries]
            try:
                await self._store.commit(
                    readings,
                    offset_us=group[0].offset_us if group else 0,
                    rejected=[row for item in group for row in item.rejected],
                    deliveries=deliveries,
                    losses=[lost] if lost else [],
                    notes=notes,
                    lost_notes=lost_notes,
                    frames=[frame for item in group for frame in item.frames],
                )
            except BufferUnwritable as error:
                self._memory.give_back(group)
                self._refused(error)
                if error.reopen:
                    await self._open()
                return False
            except BaseException:
                self._memory.give_back(group)
                raise
            self._committed(len(readings), deliveries)
            self._memory.committed(group, lost)
            self._lost_notes -= lost_notes
            for note in notes:
                if self._notes and self._notes[0] is note:
                    self._notes.popleft()
            await self._make_room()
        return True

    def _committed(self, readings: int, deliveries: Sequence[Delivery]) -> None:
        self._deliveries.add(deliveries)
        self.state.committed += readings
        self.state.commits += 1
        self.state.unwritable = None
        if self._repeats.over("buffer"):
            _LOG.info("buffer written again", waiting=self.state.waiting)
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
