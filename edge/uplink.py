"""Batches to the receiver, receipts back: the same bytes until a receipt, an order to stop, or a refusal for good."""

import asyncio
import random
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
import msgspec
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from contract.receipt import Receipt
from edge import VERSION
from edge.buffer.segments import CutBatch
from edge.buffer.store import Store
from edge.clock import Clock, signalled
from edge.errors import BufferUnwritable, EdgeError
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.uplink")
_RECEIPT = msgspec.json.Decoder(Receipt)
_STEP_S = 2.0
_SOON_S = (0.25, 30.0)
_SLOW_S = (5.0, 300.0)
_LONGEST_RETRY_AFTER_S = 900.0
# Another attempt cannot help these: the batch itself is what the receiver will not have. Only if it is the receiver
# that says so: a proxy on the way that answers 400 or 413 must not cost a gateway its whole backlog.
_PROBLEM = "application/problem+json"
_REFUSALS = {400, 409, 413, 415, 422}
# Somebody has to do something first: a key, an address.
_NEEDS_A_HAND = {401, 403, 404, 405}


class NotSent(EdgeError):
    """An attempt without a receipt. `slow` when only somebody's help can change it."""

    def __init__(self, reason: str, *, slow: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.slow, self.retry_after_s = reason, slow, retry_after_s


class Refused(EdgeError):
    """The receiver will not have this batch, however often it is sent."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason


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
    """The connection to one receiver, an async context manager around a client that is kept."""

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
        self._url, self._key_file = f"{url.rstrip('/')}/ingest/v1/batches", key_file
        self._send_interval_s, self._max_readings = send_interval_s, max_readings
        self._jitter = jitter or random.Random()
        self._repeats = Repeats(clock=clock)
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            headers={"User-Agent": f"segs-edge/{VERSION}"},
            # None is kept: one that cannot be sent back would stop every request from then on.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def __aenter__(self) -> "Uplink":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

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
                await signalled(stop, _STEP_S)
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
        left_s = self._send_interval_s
        while left_s > 0 and not await signalled(stop, min(left_s, _STEP_S)):
            self._moving()
            left_s -= _STEP_S
        while not stop.is_set() and not self._news.is_set():
            self._moving()
            news = asyncio.ensure_future(self._news.wait())
            halt = asyncio.ensure_future(stop.wait())
            await asyncio.wait({news, halt}, timeout=_STEP_S, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            halt.cancel()

    async def _deliver(self, batch: CutBatch, stop: asyncio.Event) -> None:
        """Attempts at `batch` until it is settled, refused for good, or `stop`."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NotSent),
            wait=self._wait_s,
            stop=lambda _state: stop.is_set(),
            sleep=lambda seconds: self._sleep(seconds, stop),
            reraise=True,
        )
        try:
            await retrying(self._attempt, batch)
        except NotSent:
            return  # Stopped; the batch stays as it is.

    async def _sleep(self, seconds: float, stop: asyncio.Event) -> None:
        while seconds > 0 and not stop.is_set():
            self._moving()
            await signalled(stop, min(seconds, _STEP_S))
            seconds -= _STEP_S

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
            receipt = await self._post(batch)
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

    async def _post(self, batch: CutBatch) -> Receipt:
        headers = {
            "Authorization": f"Bearer {self._key()}",
            "Content-Type": batch.media_type,
            "Content-Encoding": batch.encoding,
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._http.post(self._url, content=batch.body, headers=headers)
        except (httpx.RequestError, UnicodeError, TimeoutError) as error:
            raise NotSent(f"{self._url}: {type(error).__name__} {error}".rstrip()) from error
        if response.status_code == httpx.codes.OK:
            try:
                return _RECEIPT.decode(response.content)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise NotSent(f"{self._url} answers 200 without a receipt: {error}", slow=True) from error
        reason = _problem(response)
        refusal = response.status_code in _REFUSALS
        if refusal and response.headers.get("Content-Type", "").startswith(_PROBLEM):
            raise Refused(response.status_code, reason)
        slow = refusal or response.status_code in _NEEDS_A_HAND or response.is_redirect
        raise NotSent(f"{response.status_code}: {reason}", slow=slow, retry_after_s=_retry_after_s(response))

    def _key(self) -> str:
        # Read at each attempt: a key that is delivered or exchanged later needs no restart.
        try:
            key = self._key_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NotSent(f"no gateway key: {error}; put it into uplink.key_file", slow=True) from error
        if not key.isprintable() or len(key.split()) != 1:
            # Told without its content: the status and the log are no place for a key.
            raise NotSent(
                f"no gateway key: {self._key_file} is not one line with one word; mend uplink.key_file", slow=True
            )
        return key


def _problem(response: httpx.Response) -> str:
    """The receiver's words: title, detail and place of a problem+json, else the beginning of the text."""
    try:
        problem = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = None
    if not isinstance(problem, dict):
        # As UTF-8, whatever charset it claims: not every codec that Python has makes text.
        return response.content[:200].decode("utf-8", "replace").strip() or response.reason_phrase
    parts = [str(problem[key]) for key in ("title", "detail", "where") if problem.get(key)]
    return "; ".join(parts)[:500] or response.reason_phrase


def _retry_after_s(response: httpx.Response) -> float | None:
    # Only seconds are understood; a date would be measured against a clock that may be wrong.
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None
