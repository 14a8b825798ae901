"""One open connection to an endpoint: bytes out, bytes in, and the future of the one request that is under way."""

import asyncio
from time import monotonic
from typing import Protocol

from edge.drivers.modbus.framing import Framing
from edge.drivers.modbus.pdu import Request
from edge.errors import ModbusFault

# Event loops round their timers to milliseconds.
_TIMER_STEP_S = 0.001


class ByteTransport(Protocol):
    """What a connection needs of a socket or a serial port."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...


class Connection(asyncio.Protocol):
    """Made by what opens the transport. `closed` is done once the transport is really gone."""

    def __init__(self, framing: Framing, *, character_s: float = 0.0) -> None:
        self._framing, self._loop = framing, asyncio.get_running_loop()
        self._transport: ByteTransport | None = None
        self._waiter: asyncio.Future[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = self._deadline_s = self._timeout_s = 0.0
        self._character_s = character_s
        self.is_open = False
        self.hung_up = False
        """Whether the other side closed it."""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.busy_until_s = 0.0
        """Until when bytes were on the line for all that is known, in monotonic seconds."""
        self.answers = 0
        framing.reset()

    def connection_made(self, transport: ByteTransport) -> None:  # type: ignore[override]
        self._transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        self.busy_until_s = monotonic()
        try:
            reply = self._framing.take(data)
        except ModbusFault as fault:
            self._fail(fault)
            self.abort()
            return
        if reply is not None and waiter is not None and not waiter.done():
            self.answers += 1
            waiter.set_result(reply)

    def eof_received(self) -> None:
        self.hung_up, self.is_open = self.is_open or self.hung_up, False

    def connection_lost(self, error: Exception | None) -> None:
        if self.is_open:
            self.hung_up, self.is_open = True, False
        if not self.closed.done():
            self.closed.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail(ModbusFault(f"connection lost: {error or 'closed by the other side'}", line_lost=True))

    def ask(self, unit: int, request: Request, timeout_s: float, wire_s: float = 0.0) -> "asyncio.Future[bytes]":
        """Send `request`. The future gets the reply's PDU, or a ModbusFault; only one may be under way.

        `wire_s` is how long both are on the line: no part of the unit's `timeout_s`.
        """
        loop = self._loop
        waiter: asyncio.Future[bytes] = loop.create_future()
        self._waiter = waiter
        transport = self._transport
        if not self.is_open or transport is None:
            waiter.set_exception(ModbusFault("connection lost", line_lost=True))
            return waiter
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s = loop.time() + timeout_s + wire_s
        # One timer for all requests, looked at when it rings: most replies come long before.
        if self._timer is None or self._timer_s > deadline_s:
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer(deadline_s)
        frame = self._framing.frame(unit, request)
        transport.write(frame)
        if self._character_s:
            self.busy_until_s = monotonic() + len(frame) * self._character_s
        return waiter

    def abort(self) -> None:
        """Close at once; `closed` says when that is done."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _set_timer(self, at_s: float) -> None:
        self._timer_s, self._timer = at_s, self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._deadline_s - self._loop.time() > _TIMER_STEP_S:
            self._set_timer(self._deadline_s)
            return
        got = len(self._framing.unmatched)
        noise = f", {got} bytes that are none" if got else ""
        self._fail(ModbusFault(f"no reply within {self._timeout_s:g} s{noise}", line_lost=False, silent=True))

    def _fail(self, fault: ModbusFault) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(fault)
