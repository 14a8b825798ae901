"""The live lane: one batch at a time, of the newest readings, as often as the configuration says."""

import asyncio
import random
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from edge.buffer.batches import CutBatch, Lane
from edge.buffer.store import Store
from edge.clock import STEP_S, Clock, either, pause, signalled
from edge.errors import BufferUnwritable
from edge.uplink.agreement import Agreement
from edge.uplink.answer import NotSent
from edge.uplink.delivery import Delivery
from edge.uplink.pace import pause_s
from edge.uplink.state import UplinkState

# Without a commit for that long, what is left from before is cut without one.
_IDLE_S = 10.0


class LiveLane:
    """It also keeps the agreement with the receiver, so that after an outage one request comes back and not many.

    `hold` is called with the seconds for which the receiver wants no backlog either, `wake` when there may be some:
    what the newest batch left.
    """

    def __init__(
        self,
        *,
        store: Store,
        news: asyncio.Event,
        delivery: Delivery,
        agreement: Agreement,
        state: UplinkState,
        clock: Clock,
        jitter: random.Random,
        send_interval_s: float,
        max_readings: int,
        moving: Callable[[], None],
        hold: Callable[[float], None],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._news, self._delivery, self._agreement = store, news, delivery, agreement
        self._clock, self._jitter, self._moving = clock, jitter, moving
        self._hold, self._wake = hold, wake
        self._state, self._send_interval_s, self._max_readings = state, send_interval_s, max_readings
        self._news_s = clock.monotonic_s()
        # There are readings that no commit has cut.
        self._uncut, self._stream = False, ""
        self._set_back_at = -1

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NotSent),
            wait=self._wait_s,
            stop=lambda _state: stop.is_set(),
            sleep=lambda seconds: pause(stop, seconds, self._moving),
            reraise=True,
        )
        while not stop.is_set():
            began_s = self._clock.monotonic_s()
            try:
                batch: CutBatch | None = await retrying(self._turn)
                if batch is None:
                    await self._next(stop)
                elif not await self._store.outstanding(Lane.LIVE):
                    await pause(stop, began_s + self._send_interval_s - self._clock.monotonic_s(), self._moving)
            except NotSent:
                return  # Stopped; what was not sent stays as it is.
            except BufferUnwritable as error:
                # Nothing can be cut. What was sent and not settled is sent again, the same bytes.
                self._delivery.failed(Lane.LIVE, str(error))
                await signalled(stop, STEP_S)

    async def _turn(self) -> CutBatch | None:
        """Send the oldest live batch; None when there is none. Raises NotSent, and BufferUnwritable."""
        self._moving()
        await self._agreement.keep()
        self._moving()
        news = self._news.is_set()
        self._news.clear()
        batches = await self._store.outstanding(Lane.LIVE)
        self._uncut = not batches and (news or self._stream != self._store.stream)
        self._stream = self._store.stream
        if batches:
            self._wake()
            if await self._set_back(batches[0]):
                return batches[0]
            await self._delivery.send(batches[0])
        self._delivery.succeeded(Lane.LIVE)
        return batches[0] if batches else None

    async def _set_back(self, batch: CutBatch) -> bool:
        """Leave `batch` to the backlog where the receiver fails at it, so that the next can show whether it is alone.

        Where the next fails too, it waits: all of them fail. Raises BufferUnwritable.
        """
        accepted = self._state.batches
        if self._set_back_at == accepted or not self._delivery.breaks(batch):
            return False
        self._set_back_at = accepted
        await self._store.set_back(batch.seq)
        return True

    async def _next(self, stop: asyncio.Event) -> None:
        """Wait for the next commit, which cuts a batch of what is newest. Raises BufferUnwritable.

        Where no commit follows, what the last one brought is cut by itself, which costs a write of its own.
        """
        self._store.want_live = True
        await either(stop, self._news, min(STEP_S, self._send_interval_s) if self._uncut else STEP_S)
        now_s = self._clock.monotonic_s()
        if self._news.is_set():
            self._news_s = now_s
        elif self._uncut or now_s - self._news_s > _IDLE_S:
            self._news_s = now_s
            await self._store.cut_live(self._max_readings)

    def _wait_s(self, retry: RetryCallState) -> float:
        error = retry.outcome.exception() if retry.outcome else None
        assert isinstance(error, NotSent)
        self._delivery.failed(Lane.LIVE, error.reason)
        wait_s = pause_s(error, retry.attempt_number, self._jitter)
        if error.busy:
            self._hold(wait_s)
        else:
            self._agreement.lost()
        return wait_s
