"""The receiver as a gateway sees it: one exchange, and what its answer means."""

import asyncio
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
import msgspec

from contract.receipt import Receipt
from edge import VERSION
from edge.buffer.segments import CutBatch
from edge.errors import EdgeError

_RECEIPT = msgspec.json.Decoder(Receipt)
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


class ReceiverClient:
    """The connection to one receiver, an async context manager around an HTTP client that is kept."""

    def __init__(self, *, url: str, key_file: Path, timeout_s: float) -> None:
        self._url, self._key_file, self._timeout_s = f"{url.rstrip('/')}/ingest/v1/batches", key_file, timeout_s
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            # All authorities known are a megabyte, and without TLS not looked at; an empty store trusts nobody.
            verify=True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            headers={"User-Agent": f"segs-edge/{VERSION}"},
            # A proxy of the environment leads elsewhere; this machine is reached without.
            mounts={"all://127.0.0.1": None, "all://localhost": None},
            # None is kept: one that cannot be sent back would stop every request from then on.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def __aenter__(self) -> "ReceiverClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def post(self, batch: CutBatch) -> Receipt:
        """The receipt for `batch`. Raises NotSent, and Refused when the receiver will not have it."""
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
