"""Every request has a name, an end, is counted, and leaves one line in the log."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import structlog
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.http import metrics
from cloud.api.http.faults import described
from cloud.problem import problem_response

_LOG = structlog.get_logger("segs.api")
_NAME = re.compile(r"[A-Za-z0-9._-]{8,64}")
_HEADER = b"x-request-id"
COMMON = {
    # A page in a browser takes no answer for anything but what it says it is, and shows none in a frame.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    # Tokens and other people's meters are in no cache, unless an endpoint knows better.
    "Cache-Control": "no-store",
}
"""Headers of every answer that has none of its own. Strict-Transport-Security is the proxy's, which ends TLS."""
_COMMON = [(key.lower().encode(), value.encode()) for key, value in COMMON.items()]
_QUIET = {"/livez", "/readyz", "/metrics"}


class Bounded:
    """No body is longer than `limit` bytes, or than `larger` has it for the end of a path, nor takes longer than
    `within_s`: what people send to the API is small.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int = 2**16,
        larger: Mapping[str, int] = MappingProxyType({}),
        within_s: float = 10.0,
    ) -> None:
        self._app, self._limit, self._larger, self._within_s = app, limit, larger, within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read, ended, until = 0, False, 0.0
        limit = self._larger.get(scope.get("path", "").rpartition("/")[2], self._limit)

        async def bounded() -> Message:
            nonlocal read, ended, until
            if ended:
                return await receive()
            until = until or asyncio.get_running_loop().time() + self._within_s
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body took longer than {self._within_s:g} s") from None
            read += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if read > limit:
                raise HTTPException(413, f"the body is longer than {limit} bytes")
            return message

        await self._app(scope, bounded if scope["type"] == "http" else receive, send)


class Named:
    """The request's id in its state, in the answer's X-Request-Id, and in every line of the log meanwhile; and the
    headers that all answers have.

    What nobody has foreseen ends here: the log has its place, and no line of a server has what was in its variables.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for key, value in scope["headers"] if key == _HEADER), b"").decode("latin-1")
        name = given if _NAME.fullmatch(given) else secrets.token_hex(16)
        state = scope.setdefault("state", {})
        state["request_id"] = name
        began, status = time.perf_counter(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                has = {key for key, _ in message["headers"]}
                lacking = [header for header in _COMMON if header[0] not in has]
                message["headers"] = [*message["headers"], (_HEADER, name.encode()), *lacking]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=name), metrics.IN_FLIGHT.track_inprogress():
            try:
                await self._app(scope, receive, named)
            except asyncio.CancelledError:
                # A stop that has waited long enough.
                if not status:
                    answer = problem_response(503, "unavailable", "the service is stopping", retry_after_s=2)
                    await answer(scope, receive, named)
                raise
            except Exception as error:  # noqa: BLE001 - there is nobody behind this who could mend anything
                _LOG.error("failed", **described(error))
                # An answer that has begun cannot be another one: without its end the connection is closed.
                if not status:
                    answer = problem_response(500, "internal", "the service's log says why")
                    await answer(scope, receive, named)
            finally:
                _count(scope, state.get("user_id"), status, time.perf_counter() - began)


def _count(scope: Scope, user_id: int | None, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path_format", "none")
    method = scope["method"] if scope["method"] in metrics.METHODS else "other"
    count, took = _counted(route, method, f"{status // 100}xx" if status else "none")
    count.inc()
    took.observe(seconds)
    if route not in _QUIET:
        _LOG.info(
            "request", user_id=user_id, method=method, route=route, status=status or None, ms=round(1000 * seconds, 1)
        )


@cache
def _counted(route: str, method: str, status: str) -> tuple[Counter, Histogram]:
    """To look labels up takes longer than to count."""
    return metrics.REQUESTS.labels(route, method, status), metrics.SECONDS.labels(route)
