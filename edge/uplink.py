"""Batches to the receiver: the same bytes until a receipt, an order to stop, or a refusal for good."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from contract.receipt import Receipt
from edge.buffer.segments import CutBatch
from edge.buffer.store import Store
from edge.clock import STEP_S, Clock, either, pause, signalled
from edge.errors import BufferUnwritable
from edge.receiver import NotSent, ReceiverClient, Refused
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.uplink")
_SOON_S = (0.25, 30.0)
_SLOW_S = (5.0, 300.0)
_LONGEST_RETRY_AFTER_S = 900.0


class UplinkState(msgspec.Struct):
    """Counters since the daemon started; `trouble` is what keeps batches from being sent right now."""

    batches: int = 0
    readings: int = 0
    attempts: int = 0
    failures: int = 0
    refused: int = 0
    quarantined: int = 0
    trouble: str | None = None


class Uplink:
    """When which batch is sent, and how often; an async context manager around the connection to the receiver."""

    def __init__(
        self,
        *,
        store: Store,
        url: str,
        key_file: Path,
        clock: Clock,
        news: asyncio.Event,
        send_interval_s: float,
        timeout_s: float,
        max_readings: int,
        moving: Callable[[], None] = lambda: None,
        jitter: random.Random | None = None,
    ) -> None:
        self.state = UplinkState()
        self._store, self._clock, self._news, self._moving = store, clock, news, moving
        self._send_interval_s, self._max_readings = send_interval_s, max_readings
        self._jitter = jitter or random.Random()
        self._repeats = Repeats(clock=clock)
        self._receiver = ReceiverClient(url=url, key_file=key_file, timeout_s=timeout_s)

    async def __aenter__(self) -> "Uplink":
        await self._receiver.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._receiver.__aexit__(*details)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`: a backlog without a pause, live readings once in each send interval."""
        while not stop.is_set():
            self._moving()
            self._news.clear()
            try:
                batch = await self._store.next_batch(self._max_readings)
                if batch is not None:
                    await self._deliver(batch, stop)
            except BufferUnwritable as error:
                # Nothing can be cut or settled. What was sent and not settled is sent again, the same bytes.
                self._trouble(str(error))
                await signalled(stop, STEP_S)
                continue
            if batch is None or batch.readings < self._max_readings // 2:
                await self._pause(stop)

    async def send_rest(self, deadline_s: float) -> None:
        """One attempt for each batch that is left, until the deadline in monotonic seconds or the first failure."""
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic_s())):
                while (batch := await self._store.next_batch(self._max_readings)) is not None:
                    await self._attempt(batch)
        except (NotSent, BufferUnwritable, TimeoutError) as error:
            _LOG.info("backlog left for the next start", reason=str(error) or "deadline")

    async def _pause(self, stop: asyncio.Event) -> None:
        await pause(stop, self._send_interval_s, self._moving)
        while not await either(stop, self._news, STEP_S):
            self._moving()

    async def _deliver(self, batch: CutBatch, stop: asyncio.Event) -> None:
        """Attempts at `batch` until it is settled, refused for good, or `stop`."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NotSent),
            wait=self._wait_s,
            stop=lambda _state: stop.is_set(),
            sleep=lambda seconds: pause(stop, seconds, self._moving),
            reraise=True,
        )
        try:
            await retrying(self._attempt, batch)
        except NotSent:
            return  # Stopped; the batch stays as it is.

    def _wait_s(self, retry: RetryCallState) -> float:
        """Full jitter, so that gateways which lost the receiver together do not come back together."""
        error = retry.outcome.exception() if retry.outcome else None
        assert isinstance(error, NotSent)
        first_s, longest_s = _SLOW_S if error.slow else _SOON_S
        bound_s = min(longest_s, first_s * 2.0 ** min(retry.attempt_number, 16))
        wait_s = self._jitter.uniform(0 if not error.slow else first_s, max(bound_s, first_s))
        if error.retry_after_s is not None:
            wait_s += min(error.retry_after_s, _LONGEST_RETRY_AFTER_S)
        return wait_s

    async def _attempt(self, batch: CutBatch) -> None:
        """Send `batch` once. Raises NotSent; a batch that is refused for good is set aside here."""
        self._moving()
        self.state.attempts += 1
        try:
            receipt = await self._receiver.post(batch)
            if not await self._store.settle(receipt):
                raise NotSent(
                    f"the receipt is for batch {receipt.seq} of {receipt.stream}, {receipt.sha256}", slow=True
                )
        except Refused as refused:
            await self._store.refuse(batch.seq, status=refused.status, reason=refused.reason)
            self.state.refused += 1
            _LOG.error("batch refused, set aside", seq=batch.seq, status=refused.status, reason=refused.reason)
            return
        except NotSent as error:
            self.state.failures += 1
            self._trouble(error.reason)
            raise
        if self._repeats.over("uplink"):
            _LOG.info("batches are accepted again", seq=batch.seq)
        self.state.trouble = None
        self.state.batches += 1
        self.state.readings += batch.readings
        self._report_quarantine(receipt)

    def _trouble(self, reason: str) -> None:
        self.state.trouble = reason
        if (count := self._repeats.due("uplink")) is not None:
            _LOG.warning("batches cannot be sent", reason=reason, failures_not_logged=count)

    def _report_quarantine(self, receipt: Receipt) -> None:
        for entry in receipt.quarantined:
            self.state.quarantined += entry.readings
            subject = f"{entry.device} {entry.reason}"
            if (count := self._repeats.due(subject)) is not None:
                _LOG.warning(
                    "readings quarantined by the receiver",
                    device=entry.device,
                    reason=entry.reason,
                    readings=entry.readings,
                    receipts_not_logged=count,
                )
