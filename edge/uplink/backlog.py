"""The backlog lane: everything older than the live lane's, as fast as the receiver grants it."""

import asyncio
import random
from collections.abc import Callable

from contract.receipt import Receipt
from edge.buffer.batches import CutBatch, Lane
from edge.buffer.store import Store
from edge.clock import STEP_S, Clock, either
from edge.errors import BufferUnwritable
from edge.uplink.agreement import Agreement
from edge.uplink.answer import NotSent, Refused
from edge.uplink.delivery import Delivery
from edge.uplink.pace import BatchSize, Credit, pause_s

_AHEAD = 2
# Those under way at the stop may end; the live lane's last batch waits for that.
_GRACE_S = 2.0


class BacklogLane:
    """As many batches under way as the receiver's credit allows, while the live lane has an agreement with it."""

    def __init__(
        self,
        *,
        store: Store,
        delivery: Delivery,
        agreement: Agreement,
        credit: Credit,
        clock: Clock,
        jitter: random.Random,
        max_readings: int,
        long_s: float,
        moving: Callable[[], None],
    ) -> None:
        self._store, self._delivery, self._agreement, self._credit = store, delivery, agreement, credit
        self._clock, self._jitter, self._moving = clock, jitter, moving
        self._size = BatchSize(max_readings, long_s)
        self._under_way: dict[int, asyncio.Task[None]] = {}
        # At these the receiver has failed: they come after all others.
        self._later: set[int] = set()
        self._turn = asyncio.Event()
        self._failures, self._held_until_s = 0, float("-inf")

    def hold(self, seconds: float) -> None:
        """Begin no batch for so long."""
        self._held_until_s = max(self._held_until_s, self._clock.monotonic_s() + seconds)

    def wake(self) -> None:
        """Look now for what may be sent."""
        self._turn.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`, and what is under way then a moment longer."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._moving()
                self._turn.clear()
                try:
                    for batch in await self._next():
                        task = group.create_task(self._send(batch), name=f"batch {batch.seq}")
                        self._under_way[batch.seq] = task
                except BufferUnwritable as error:
                    self._unwritable(error)
                await self._wait(stop)
            if self._under_way:
                await asyncio.wait(self._under_way.values(), timeout=_GRACE_S)
            for task in self._under_way.values():
                task.cancel()

    async def _next(self) -> list[CutBatch]:
        """Batches that may begin now: those that wait, and as many more as are cut. Raises BufferUnwritable."""
        free = self._free()
        if free <= 0:
            return []
        taken = {*self._under_way, *self._later}
        batches = await self._store.outstanding(Lane.BACKLOG, free, without=taken)
        missing = free - len(batches)
        if missing and await self._store.cut_backlog(self._size.readings, max(missing, _AHEAD)):
            taken |= {batch.seq for batch in batches}
            batches += await self._store.outstanding(Lane.BACKLOG, missing, without=taken)
        if not batches and self._later:
            self._later.clear()
            self._turn.set()
        return batches

    def _free(self) -> int:
        if not self._agreement.agreed.is_set() or self._clock.monotonic_s() < self._held_until_s:
            return 0
        return self._credit.now - len(self._under_way)

    async def _wait(self, stop: asyncio.Event) -> None:
        wait_s = min(STEP_S, max(0.0, self._held_until_s - self._clock.monotonic_s()) or STEP_S)
        if self._agreement.agreed.is_set():
            await either(stop, self._turn, wait_s)
        else:
            await either(stop, self._agreement.agreed, STEP_S)

    async def _send(self, batch: CutBatch) -> None:
        began_s = self._clock.monotonic_s()
        try:
            outcome = await self._delivery.send(batch)
            self._succeeded(batch, outcome, self._clock.monotonic_s() - began_s)
        except NotSent as error:
            self._failed(batch, error, self._clock.monotonic_s() - began_s)
        except BufferUnwritable as error:
            self._unwritable(error)
        finally:
            del self._under_way[batch.seq]
            self._turn.set()

    def _succeeded(self, batch: CutBatch, outcome: Receipt | Refused | None, took_s: float) -> None:
        self._failures = 0
        self._delivery.succeeded(Lane.BACKLOG)
        if isinstance(outcome, Receipt):
            self._size.sent(batch.readings, took_s)
        elif outcome is not None and outcome.too_large:
            self._size.too_large(batch.readings)

    def _failed(self, batch: CutBatch, error: NotSent, took_s: float) -> None:
        if error.broken:
            self._later.add(batch.seq)
        elif not error.busy:
            self._agreement.lost()
        if not (error.busy and self._credit.granted == 0):
            self._delivery.failed(Lane.BACKLOG, error.reason)
        # Those that were under way together have failed together.
        if self._clock.monotonic_s() >= self._held_until_s:
            self._failures += 1
        self.hold(pause_s(error, self._failures, self._jitter))
        self._size.failed(batch.readings, took_s)

    def _unwritable(self, error: BufferUnwritable) -> None:
        self._delivery.failed(Lane.BACKLOG, str(error))
        self.hold(STEP_S)
