"""What an answer on the way to the receiver means, whoever gave it."""

from email.utils import parsedate_to_datetime

import httpx
import msgspec

from contract.answer import TIME
from edge.errors import EdgeError

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises at a body that is not what it should be."""
# Another attempt cannot help these: the batch itself is what the receiver will not have. Only if it is the receiver
# that says so: a proxy on the way that answers 400 or 413 must not cost a gateway its whole backlog.
_PROBLEM = "application/problem+json"
_REFUSALS = {400, 409, 413, 415, 422}
# Somebody has to do something first: a key, an address.
_NEEDS_A_HAND = {401, 403, 404, 405}


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


def raise_for(response: httpx.Response) -> None:
    """Raises NotSent or Refused unless `response` is one of success."""
    if response.is_success:
        return
    reason = _problem(response)
    refusal = response.status_code in _REFUSALS
    if refusal and _kind(response) == _PROBLEM:
        raise Refused(response.status_code, reason)
    raise NotSent(
        f"{response.status_code}: {reason}",
        slow=refusal or response.status_code in _NEEDS_A_HAND or response.is_redirect,
        retry_after_s=number(response, "Retry-After"),
        status=response.status_code,
    )


def unreadable(response: httpx.Response, what: str) -> NotSent:
    """A success, but without what was asked for."""
    return NotSent(f"{response.url} answers {response.status_code} {what}", slow=True, status=response.status_code)


def told_time_us(response: httpx.Response) -> tuple[int, int] | None:
    """The receiver's clock in an answer of its own, and what it is cut off to, both in microseconds.

    A proxy's page and a stored answer tell nothing.
    """
    if "Age" in response.headers:
        return None
    exact_us = number(response, TIME)
    if exact_us is not None:
        return exact_us, 1
    if _kind(response) not in ("application/json", _PROBLEM):
        return None
    try:
        return int(parsedate_to_datetime(response.headers.get("Date", "")).timestamp() * 1e6), 1_000_000
    except (ValueError, OverflowError):
        return None


def number(response: httpx.Response, header: str) -> int | None:
    """A header of digits alone. A date is not understood: it would be measured against a clock that may be wrong."""
    value = response.headers.get(header, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _problem(response: httpx.Response) -> str:
    """The receiver's words: title, detail and place of a problem+json, else the beginning of the text."""
    try:
        problem = msgspec.json.decode(response.content)
    except UNREADABLE:
        problem = None
    if not isinstance(problem, dict):
        # As UTF-8, whatever charset it claims: not every codec that Python has makes text.
        return response.content[:200].decode("utf-8", "replace").strip() or response.reason_phrase
    parts = [str(problem[key]) for key in ("title", "detail", "where") if problem.get(key)]
    return "; ".join(parts)[:500] or response.reason_phrase
