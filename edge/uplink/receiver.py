"""The receiver as a gateway sees it: one exchange, and what its answer means."""

import asyncio
import ssl
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Protocol

import httpx
import msgspec

from contract.answer import CREDIT
from contract.receipt import Receipt, StreamState
from contract.report import Report
from edge import VERSION
from edge.buffer.batches import CutBatch
from edge.clock import Clock
from edge.uplink.answer import UNREADABLE, NotSent, Refused, number, raise_for, told_time_us, unreadable

_RECEIPT = msgspec.json.Decoder(Receipt)
_STREAM = msgspec.json.Decoder(StreamState)
# Servers close idle connections sooner than that, or say so.
_KEEP_S = 65.0


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
        except UNREADABLE as error:
            raise unreadable(response, f"without the numbers it has: {error}") from error
        if found.stream != stream:
            raise unreadable(response, f"about stream {found.stream[:40]!r}")
        return found

    async def post(self, batch: CutBatch) -> Receipt:
        """The receipt for `batch`. Raises NotSent, and Refused when the receiver will not have it."""
        headers = {"Content-Type": batch.media_type, "Content-Encoding": batch.encoding}
        response = await self._exchange("POST", "/batches", content=batch.body, headers=headers)
        try:
            return _RECEIPT.decode(response.content)
        except UNREADABLE as error:
            raise unreadable(response, f"without a receipt: {error}") from error

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
        credit = number(response, CREDIT)
        if credit is not None:
            self._credit(credit, number(response, "Retry-After"))
        raise_for(response)
        if credit is None and method != "GET":
            self._credit(1, None)
        return response

    def _hear(self, response: httpx.Response, asked_s: float) -> None:
        if (told := told_time_us(response)) is not None:
            receiver_us, resolution_us = told
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
