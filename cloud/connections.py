"""Connections of receiver and API: bounded in number, and none may take its time for ever.

uvicorn bounds neither how long a client takes for its headers nor how many clients there are.
"""

import asyncio
import contextlib
import resource
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from prometheus_client import Counter, Gauge
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OPEN = Gauge("segs_http_connections", "Connections that are open now")
_CLOSED = Counter(
    "segs_http_connections_cut",
    "Connections closed by the service: full (there was no room), made_room (idle, for a new one), late (a request's"
    " headers or rest took too long), large (headers without end), stalled (an answer was not taken)",
    ["why"],
)
for _why in ("full", "made_room", "late", "large", "stalled"):
    _CLOSED.labels(_why)

# Whatever else the process opens: database connections, logs, the event loop's own.
_OTHER_FILES = 64


class Connections:
    """What is open at one process. `limit` connections at most; who waits for a client makes room for a new one.

    A client has `head_timeout_s` from its first byte to the end of its headers, and `rest_timeout_s` for what it still
    sends of a request that was answered already. Between requests a connection may idle for `idle_timeout_s`. Of an
    answer that is larger than buffers are, it takes some within `stall_timeout_s`.
    """

    def __init__(
        self,
        *,
        limit: int,
        head_timeout_s: float = 10.0,
        rest_timeout_s: float = 30.0,
        idle_timeout_s: float = 75.0,
        stall_timeout_s: float = 30.0,
        head_bytes: int = 2**16,
    ) -> None:
        self.limit, self.head_bytes = limit, head_bytes
        self.head_timeout_s, self.rest_timeout_s, self.idle_timeout_s = head_timeout_s, rest_timeout_s, idle_timeout_s
        self.stall_timeout_s = stall_timeout_s
        # In order of their age. First to go is who has not even asked for anything yet.
        self._asking: dict[_Connection, None] = {}
        self._idle: dict[_Connection, None] = {}
        self._open: set[_Connection] = set()

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """For uvicorn's configuration, as `http`."""
        return cast(type[asyncio.Protocol], partial(_Connection, self))

    def opened(self, connection: "_Connection") -> None:
        """Count it, and close the one that has to make room, if any: the new one where all others are at work."""
        self._open.add(connection)
        if len(self._open) > self.limit:
            victim = next(iter(self._asking), None) or next(iter(self._idle), None)
            if victim is None:
                connection.cut("full")
            else:
                victim.cut("made_room")
        _OPEN.set(len(self._open))

    def closed(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        self.working(connection)
        _OPEN.set(len(self._open))

    def asking(self, connection: "_Connection") -> None:
        """It has begun, or is about to begin, a request."""
        self._idle.pop(connection, None)
        self._asking[connection] = None

    def idle(self, connection: "_Connection") -> None:
        """It has its answer."""
        self._asking.pop(connection, None)
        self._idle[connection] = None

    def working(self, connection: "_Connection") -> None:
        """Its request is worked on, within the time-outs of what works on it."""
        self._asking.pop(connection, None)
        self._idle.pop(connection, None)


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for all that depends on the client."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head, self._head_bytes = True, 0
        self._more_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self._all.asking, self._all.head_timeout_s)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._flows()
        self._all.closed(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._flows()
        self._stalled = self.loop.call_later(self._all.stall_timeout_s, self.cut, "stalled")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._flows()

    def _flows(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._all.head_bytes:
                self.cut("large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._in_head, self._head_bytes = True, 0
            if self._at_rest:
                self._wait(self._all.asking, self._all.head_timeout_s)

    def on_headers_complete(self) -> None:
        self._in_head, self._more_body = False, True
        self._stop_waiting()
        self._all.working(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._more_body = False
        if self._at_rest:
            self._wait(self._all.idle, self._all.idle_timeout_s)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._at_rest and not self.transport.is_closing():
            self._wait(self._all.idle, self._all.rest_timeout_s if self._more_body else self._all.idle_timeout_s)

    def cut(self, why: str) -> None:
        """End it at once: nobody waits for what a client may never read."""
        if not self.transport.is_closing():
            _CLOSED.labels(why).inc()
            self.transport.abort()
        # The loss is told in the next turn of the loop; until then nobody else is to be cut in its stead.
        self._stop_waiting()
        self._all.closed(self)

    @property
    def _at_rest(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and not self.pipeline

    def _wait(self, kind: Callable[["_Connection"], None], seconds: float) -> None:
        self._stop_waiting()
        kind(self)
        self._deadline = self.loop.call_later(seconds, self._expired)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        if self._in_head or self._more_body:
            self.cut("late")
        else:
            self.transport.close()


def room(wanted: int, backlog: int) -> int:
    """How many connections the process has files for, at most `wanted`; asks the system for as many as it allows.

    Of those that wait in `backlog` some may be open for a moment before they are counted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + backlog + _OTHER_FILES
    if soft < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        # A sandbox may forbid it; then there is room for fewer.
        with contextlib.suppress(OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return max(1, min(wanted, soft - min(backlog, soft // 4) - _OTHER_FILES))
