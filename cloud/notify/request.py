"""One HTTP request that hands a message over, and what its answer means."""

import asyncio
from collections.abc import Mapping

import httpx

from cloud.notify.outcome import Outcome, Result

# About us, our key or the address, and not about the message; or about the moment.
_NOT_ITS_FAULT = {401, 403, 404, 405, 407, 408, 425, 429}
_LONGEST_WAIT_S = 3600.0


async def post(url: str, *, method: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Outcome:
    """Delivered by 2xx, dead by another 4xx, else deferred. Redirections are not followed: what was meant for one
    receiver is no other's. Of the answer only the status is told: a body may repeat what was sent."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=timeout_s) as client,
            client.stream(method, url, content=body, headers=headers) as answer,
        ):
            return _outcome(answer)
    except TimeoutError:
        return Outcome(Result.DEFERRED, f"no answer within {timeout_s:g} s")
    except httpx.HTTPError as error:
        return Outcome(Result.DEFERRED, f"{type(error).__name__}: {error}")


def _outcome(answer: httpx.Response) -> Outcome:
    status = answer.status_code
    reply = f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
    if answer.is_success:
        return Outcome(Result.DELIVERED, reply)
    if answer.is_client_error and status not in _NOT_ITS_FAULT:
        return Outcome(Result.DEAD, reply)
    wait = answer.headers.get("retry-after", "")
    return Outcome(
        Result.DEFERRED, reply, min(float(wait), _LONGEST_WAIT_S) if wait.isascii() and wait.isdecimal() else 0
    )
