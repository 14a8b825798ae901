"""A line to the units of one endpoint: one connection, one request at a time, and never a reply of another request."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from edge.drivers.modbus import pdu
from edge.drivers.modbus.connection import Connection
from edge.drivers.modbus.exchange import Exchange
from edge.drivers.modbus.framing import Framing, Mbap, Rtu
from edge.drivers.modbus.owed import Owed
from edge.drivers.modbus.ports import Parity, Port, SerialPort, TcpPort
from edge.errors import ModbusFault

_CLOSE_PATIENCE_S = 1.0
# Unit and CRC, of the request and of the reply.
_RTU_CHARACTERS = 6
# Serial device servers do not say how fast their line is; what the standard asks at high speed is the least.
_LEAST_RTU_SILENCE_S = 0.001_75
# Busy, or a gateway's word: it tells nothing about what the unit itself still owes.
_NOT_NOW = (6, 10, 11)


class Line:
    """An async context manager; not connected until `connect`. `tap` is called once per request."""

    def __init__(self, *, port: Port, framing: Framing) -> None:
        self.endpoint = port.endpoint
        self.tap: Callable[[Exchange], None] | None = None
        self._port, self._framing = port, framing
        self._rtu = framing if isinstance(framing, Rtu) else None
        self._connection: Connection | None = None
        self._busy = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        # Units that may still answer earlier requests. Only RTU cannot know such answers.
        self._owed: dict[int, Owed] = {}
        # The longest request that a unit has answered: it and shorter ones have many lengths.
        self._known: dict[int, pdu.Request] = {}

    async def __aenter__(self) -> "Line":
        return self

    async def __aexit__(self, *_: object) -> None:
        connection = self._connection
        self.drop()
        await _gone(connection)

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.is_open

    async def connect(self) -> None:
        """Open the connection, and close the one before first: some endpoints allow one. Raises ModbusFault."""
        before = self._connection
        self.drop()
        await _gone(before)
        self._connection = await self._port.open(self._framing)

    def drop(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def read(self, *, unit: int, function: int, address: int, count: int, timeout_s: float) -> bytes:
        """The data of FC1 to FC4, as it stood on the wire: 2 * `count` bytes, or `count` bits padded to bytes.

        Raises ModbusFault. A connection that the other side closed since the last answer is opened again once.
        """
        request = pdu.reading(function, address, count)
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            connection = self._connection
            try:
                if unit in self._owed:
                    await self._settle(unit, timeout_s)
                reply = await self._exchange(unit, request, timeout_s)
            except ModbusFault as fault:
                if not fault.line_lost or connection is None or not (connection.hung_up and connection.answers):
                    raise
                await self.connect()
                reply = await self._exchange(unit, request, timeout_s)
        finally:
            self._free()
        if self._rtu is not None:
            self._remember(unit, request)
        return reply[2:]

    async def write(self, *, unit: int, function: int, address: int, values: Sequence[int], timeout_s: float) -> None:
        """Write by FC5, 6, 15 or 16. Raises ModbusFault; a write that was not confirmed may have been done."""
        request = pdu.writing(function, address, values)
        if self._busy:
            await self._turn()
        self._busy = True
        try:
            if self._rtu is not None and self._rtu.echoes is None:
                # An adapter's echo of a write may look like its answer; a read tells whether there are echoes.
                await self._probe(unit, pdu.reading(1 if function in (5, 15) else 3, address, 1), timeout_s)
            if unit in self._owed:
                await self._settle(unit, timeout_s)
            await self._exchange(unit, request, timeout_s)
        finally:
            self._free()

    async def _turn(self) -> None:
        """Wait until the line is free. A lock of asyncio's costs more, on every request, than all of this."""
        while self._busy:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            try:
                await freed
            except BaseException:
                if not self._busy:
                    self._wake()
                raise

    def _free(self) -> None:
        self._busy = False
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        """Let the first of those who still wait go on."""
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)
                return

    async def _settle(self, unit: int, timeout_s: float) -> None:
        """Ask for something whose answer looks different from all that `unit` owes, so that they can be told apart.

        A unit answers in order: once that is answered, what it owed has come and gone.
        """
        owed = self._owed[unit]
        if owed.may_come:
            # If that is not answered either, it is not known any more.
            known = self._known.pop(unit, None)
            await self._probe(unit, owed.probe(known), timeout_s)
            if known is not None:
                self._known[unit] = known
        self._owed.pop(unit, None)

    def _remember(self, unit: int, request: pdu.Request) -> None:
        known = self._known.get(unit)
        if known is None or known.length < request.length:
            self._known[unit] = request

    async def _probe(self, unit: int, probe: pdu.Request, timeout_s: float) -> None:
        try:
            await self._exchange(unit, probe, timeout_s)
        except ModbusFault as fault:
            if fault.exception_code is None or fault.exception_code in _NOT_NOW:
                raise

    async def _exchange(self, unit: int, request: pdu.Request, timeout_s: float) -> bytes:
        connection, port = self._connection, self._port
        if connection is None or not connection.is_open:
            raise ModbusFault(f"not connected to {self.endpoint}", line_lost=True)
        if port.silence_s:
            await self._silence(connection, timeout_s)
        tap, sent_us, wire_s = self.tap, 0, 0.0
        if port.character_s:
            wire_s = port.character_s * (len(request.pdu) + request.length + _RTU_CHARACTERS)
        if tap is not None:
            sent_us = time.time_ns() // 1000
        try:
            reply = await connection.ask(unit, request, timeout_s, wire_s)
        except BaseException as error:
            self._unanswered(unit, request)
            if isinstance(error, ModbusFault):
                error.line_lost = not self.connected
            if tap is not None:
                tap(self._exchanged(unit, request, None, sent_us, str(error) or type(error).__name__))
            raise
        if tap is not None:
            tap(self._exchanged(unit, request, reply, sent_us, None))
        if reply[0] & pdu.EXCEPTION_BIT:
            raise pdu.fault_of(reply)
        return reply

    def _unanswered(self, unit: int, request: pdu.Request) -> None:
        if self._rtu is not None:
            if unit not in self._owed:
                self._owed[unit] = Owed()
            self._owed[unit].add(request)
        if self._port.redials:
            # The next request would not be mistaken, but it may have to wait behind this one at the other side; and
            # a connection that only looks open is found out by this alone.
            self.drop()

    async def _silence(self, connection: Connection, patience_s: float) -> None:
        """Wait until the line has been silent for long enough."""
        deadline_s = time.monotonic() + patience_s + self._port.silence_s
        while (left_s := connection.busy_until_s + self._port.silence_s - time.monotonic()) > 0:
            if time.monotonic() > deadline_s:
                raise ModbusFault(f"{self.endpoint} is never silent: somebody else talks on it", line_lost=False)
            await asyncio.sleep(left_s)

    def _exchanged(
        self, unit: int, request: pdu.Request, reply: bytes | None, sent_us: int, fault: str | None
    ) -> Exchange:
        took_us = time.time_ns() // 1000 - sent_us
        return Exchange(unit, request.pdu, reply, bytes(self._framing.unmatched), sent_us, took_us, fault)


async def _gone(connection: Connection | None) -> None:
    """Wait until the socket of `connection` is closed: an endpoint may allow no second one."""
    if connection is not None:
        await asyncio.wait({connection.closed}, timeout=_CLOSE_PATIENCE_S)


def tcp_line(
    *,
    host: str,
    port: int,
    framing: Literal["tcp", "rtu"] = "tcp",
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    connect_timeout_s: float,
    silence_s: float = 0.0,
) -> Line:
    """A line over TCP, with TLS where there is a context; `server_name` is what its certificate must name."""
    least_s = _LEAST_RTU_SILENCE_S if framing == "rtu" else 0.0
    return Line(
        port=TcpPort(
            host=host,
            port=port,
            tls=tls,
            server_name=server_name,
            connect_timeout_s=connect_timeout_s,
            silence_s=max(least_s, silence_s),
        ),
        framing=Rtu() if framing == "rtu" else Mbap(),
    )


def serial_line(
    *,
    path: str,
    baud_rate: int = 9600,
    parity: Parity = "none",
    stop_bits: Literal[1, 2] = 1,
    silence_s: float | None = None,
) -> Line:
    """RTU on the serial port at `path`; `silence_s` None is the standard's for that speed."""
    return Line(
        port=SerialPort(path=path, baud_rate=baud_rate, parity=parity, stop_bits=stop_bits, silence_s=silence_s),
        framing=Rtu(),
    )
