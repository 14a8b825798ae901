"""Every request has a name, is counted, and leaves one line in the log."""

import re
import time
import uuid

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = structlog.get_logger("segs.api")
_NAME = re.compile(r"[A-Za-z0-9._-]{8,64}")
_HEADER = "x-request-id"
_REQUESTS = Counter("segs_api_requests", "Requests by route and status", ["route", "status"])
_SECONDS = Histogram("segs_api_seconds", "From the request's headers to the end of its answer, seconds", ["route"])
COMMON = {
    # A page in a browser takes no answer for anything but what it says it is, and shows none in a frame.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    # Tokens and other people's meters are in no cache, unless an endpoint knows better.
    "Cache-Control": "no-store",
}
"""Headers of every answer that has none of its own. Strict-Transport-Security is the proxy's, which ends TLS."""
_QUIET = {"/livez", "/readyz", "/metrics"}


class Bounded:
    """No body is longer than `limit` bytes: what people send to the API is small."""

    def __init__(self, app: ASGIApp, *, limit: int = 2**16) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise HTTPException(413, f"the body is longer than {self._limit} bytes")
            return message

        await self._app(scope, bounded if scope["type"] == "http" else receive, send)


class Named:
    """The request's id in its state, in the answer's X-Request-Id, and in every line of the log meanwhile; and
    the headers that all answers have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        name = given if _NAME.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name
        began, status = time.perf_counter(), 500

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[_HEADER] = name
                for key, value in COMMON.items():
                    headers.setdefault(key, value)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=name):
            try:
                await self._app(scope, receive, named)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                seconds = time.perf_counter() - began
                _REQUESTS.labels(route, str(status)).inc()
                _SECONDS.labels(route).observe(seconds)
                if route not in _QUIET:
                    _LOG.info(
                        "request", method=scope["method"], route=route, status=status, ms=round(1000 * seconds, 1)
                    )
