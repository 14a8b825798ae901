"""The receiver as a gateway sees it: one exchange, and what its answer means."""

import asyncio
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Protocol

import httpx
import msgspec

from contract.answer import CREDIT, TIME
from contract.receipt import Receipt, StreamState
from contract.report import Report
from edge import VERSION
from edge.buffer.batches import CutBatch
from edge.clock import Clock
from edge.errors import EdgeError

_RECEIPT = msgspec.json.Decoder(Receipt)
_STREAM = msgspec.json.Decoder(StreamState)
# Another attempt cannot help these: the batch itself is what the receiver will not have. Only if it is the receiver
# that says so: a proxy on the way that answers 400 or 413 must not cost a gateway its whole backlog.
_PROBLEM = "application/problem+json"
_REFUSALS = {400, 409, 413, 415, 422}
# Somebody has to do something first: a key, an address.
_NEEDS_A_HAND = {401, 403, 404, 405}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Servers close idle connections sooner than that, or say so.
_KEEP_S = 65.0


class NotSent(EdgeError):
    """An exchange without what was asked for. `slow` when only somebody's help can change it.

    `status` is that of the answer, None when there was none.
    """

    def __init__(
        self, reason: str, *, slow: bool = False, retry_after_s: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.slow, self.retry_after_s, self.status = reason, slow, retry_after_s, status

    @property
    def missing(self) -> bool:
        """Whether there is nobody at this address, or nobody who takes this method."""
        return self.status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED)

    @property
    def busy(self) -> bool:
        """Whether the receiver is there, and asks to come later."""
        return self.status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)

    @property
    def broken(self) -> bool:
        """Whether the receiver failed at this very request, as far as anybody can tell."""
        return self.status is not None and httpx.codes.is_server_error(self.status) and not self.busy


class Refused(EdgeError):
    """The receiver will not have this batch, however often it is sent."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason

    @property
    def too_large(self) -> bool:
        return self.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE


class ReceiverClock(Protocol):
    """Who wants to know the receiver's clock: microseconds since 1970, in an exchange between two monotonic times."""

    def heard(self, receiver_us: int, *, asked_s: float, answered_s: float, resolution_us: int) -> None: ...


class ReceiverClient:
    """The connection to one receiver, an async context manager around an HTTP client that is kept.

    `credit` is called with what an answer says of it, and with the seconds after which to ask again, if it says so.
    """

    def __init__(
        self,
        *,
        url: str,
        key_file: Path,
        timeout_s: float,
        clock: Clock,
        timekeeper: ReceiverClock,
        credit: Callable[[int, float | None], None],
    ) -> None:
        self._url, self._key_file, self._timeout_s = f"{url.rstrip('/')}/ingest/v1", key_file, timeout_s
        self._clock, self._timekeeper, self._credit = clock, timekeeper, credit
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            # All authorities known are a megabyte, and without TLS not looked at; an empty store trusts nobody.
            verify=True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            headers={"User-Agent": f"segs-edge/{VERSION}"},
            limits=httpx.Limits(keepalive_expiry=_KEEP_S),
            # A proxy of the environment leads elsewhere; this machine is reached without.
            mounts={"all://127.0.0.1": None, "all://localhost": None},
            # None is kept: one that cannot be sent back would stop every request from then on.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def __aenter__(self) -> "ReceiverClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, stream: str, from_seq: int) -> StreamState:
        """What the receiver has of `stream` from number `from_seq` on. Raises NotSent."""
        try:
            response = await self._exchange("GET", f"/streams/{stream}?from={from_seq}")
        except Refused as refused:
            raise NotSent(str(refused), slow=True, status=refused.status) from refused
        try:
            found = _STREAM.decode(response.content)
        except _UNREADABLE as error:
            raise _unreadable(response, f"without the numbers it has: {error}") from error
        if found.stream != stream:
            raise _unreadable(response, f"about stream {found.stream[:40]!r}")
        return found

    async def post(self, batch: CutBatch) -> Receipt:
        """The receipt for `batch`. Raises NotSent, and Refused when the receiver will not have it."""
        headers = {"Content-Type": batch.media_type, "Content-Encoding": batch.encoding}
        response = await self._exchange("POST", "/batches", content=batch.body, headers=headers)
        try:
            return _RECEIPT.decode(response.content)
        except _UNREADABLE as error:
            raise _unreadable(response, f"without a receipt: {error}") from error

    async def put_report(self, report: Report) -> None:
        """Tell how the gateway is doing. Raises NotSent, and Refused."""
        body = msgspec.json.encode(report)
        await self._exchange("PUT", "/report", content=body, headers={"Content-Type": "application/json"})

    async def _exchange(
        self, method: str, path: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer, if it is one of success. Raises NotSent and Refused."""
        url = self._url + path
        headers = {"Authorization": f"Bearer {self._key()}", **(headers or {})}
        asked_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._http.request(method, url, content=content, headers=headers)
        except (httpx.RequestError, UnicodeError, TimeoutError) as error:
            raise NotSent(f"{url}: {type(error).__name__} {error}".rstrip()) from error
        except AttributeError as error:
            # On uvloop, anyio asks a connection that is gone the moment it was made for its peer.
            raise NotSent(f"{url}: the connection was lost as it was made") from error
        self._hear(response, asked_s)
        retry_after_s = _number(response, "Retry-After")
        credit = _number(response, CREDIT)
        if credit is not None:
            self._credit(int(credit), retry_after_s)
        if response.is_success:
            if credit is None and method != "GET":
                self._credit(1, None)
            return response
        reason = _problem(response)
        refusal = response.status_code in _REFUSALS
        if refusal and _kind(response) == _PROBLEM:
            raise Refused(response.status_code, reason)
        raise NotSent(
            f"{response.status_code}: {reason}",
            slow=refusal or response.status_code in _NEEDS_A_HAND or response.is_redirect,
            retry_after_s=retry_after_s,
            status=response.status_code,
        )

    def _hear(self, response: httpx.Response, asked_s: float) -> None:
        """The receiver's clock, from any answer of its own; a proxy's page or a stored answer tells nothing."""
        if "Age" in response.headers:
            return
        receiver_us, resolution_us = _number(response, TIME), 1
        if receiver_us is None:
            if _kind(response) not in ("application/json", _PROBLEM):
                return
            try:
                receiver_us = int(parsedate_to_datetime(response.headers.get("Date", "")).timestamp() * 1e6)
            except (ValueError, OverflowError):
                return
            resolution_us = 1_000_000
        self._timekeeper.heard(
            receiver_us, asked_s=asked_s, answered_s=self._clock.monotonic_s(), resolution_us=resolution_us
        )

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


def _unreadable(response: httpx.Response, what: str) -> NotSent:
    return NotSent(f"{response.url} answers {response.status_code} {what}", slow=True, status=response.status_code)


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _problem(response: httpx.Response) -> str:
    """The receiver's words: title, detail and place of a problem+json, else the beginning of the text."""
    try:
        problem = msgspec.json.decode(response.content)
    except _UNREADABLE:
        problem = None
    if not isinstance(problem, dict):
        # As UTF-8, whatever charset it claims: not every codec that Python has makes text.
        return response.content[:200].decode("utf-8", "replace").strip() or response.reason_phrase
    parts = [str(problem[key]) for key in ("title", "detail", "where") if problem.get(key)]
    return "; ".join(parts)[:500] or response.reason_phrase


def _number(response: httpx.Response, header: str) -> int | None:
    """A header of digits alone. A date is not understood: it would be measured against a clock that may be wrong."""
    value = response.headers.get(header, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None
