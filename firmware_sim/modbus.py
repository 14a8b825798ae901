"""A Modbus TCP server for reading, from "MODBUS Messaging on TCP/IP V1.0b" and "Application Protocol V1.1b3".

Several units answer behind one endpoint, as behind a TCP-to-RTU gateway. Requests of a connection are answered in
order, pipelined ones too.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Mapping

from firmware_sim.errors import EndpointError, JournalError
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.register_map import IllegalAddress, IllegalCount, RegisterMap

ILLEGAL_FUNCTION = 0x01
ILLEGAL_DATA_ADDRESS = 0x02
ILLEGAL_DATA_VALUE = 0x03
GATEWAY_TARGET_FAILED = 0x0B
_HEADER = struct.Struct(">HHHB")
_READ = struct.Struct(">BHH")
_MAX_REGISTERS = 125
_MAX_LENGTH = 254

Clock = Callable[[], int]


def now_us() -> int:
    return time.time_ns() // 1000


class Unit:
    """A meter at a unit address: reads are of the instant at which they are answered."""

    def __init__(self, *, meter: Meter, registers: RegisterMap, journal: Journal, clock: Clock = now_us) -> None:
        self._meter, self._registers, self._journal, self._clock = meter, registers, journal, clock

    def answer(self, pdu: bytes) -> bytes:
        """The response PDU to the request PDU, in the journal before it is returned. Raises JournalError."""
        function = pdu[0]
        table = self._registers.by_function.get(function)
        if table is None:
            return _exception(function, ILLEGAL_FUNCTION)
        if len(pdu) != _READ.size:
            return _exception(function, ILLEGAL_DATA_VALUE)
        _, address, count = _READ.unpack(pdu)
        if not 1 <= count <= _MAX_REGISTERS:
            return _exception(function, ILLEGAL_DATA_VALUE)
        t_us = self._clock()
        try:
            data, values = table.read(address, count, self._meter.at(t_us))
        except IllegalAddress:
            return _exception(function, ILLEGAL_DATA_ADDRESS)
        except IllegalCount:
            return _exception(function, ILLEGAL_DATA_VALUE)
        if values:
            self._journal.served(t_us=t_us, meter=self._meter.name, values=values)
        return bytes((function, len(data))) + data


def _exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


class _Connection(asyncio.Protocol):
    """One client. A header that is not Modbus TCP ends the connection: there is no way back into step."""

    def __init__(self, endpoint: "ModbusEndpoint") -> None:
        self._endpoint = endpoint
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._endpoint.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._endpoint.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        while len(self._received) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._received)
            if protocol != 0 or not 2 <= length <= _MAX_LENGTH:
                self._transport.abort()
                return
            end = 6 + length
            if len(self._received) < end:
                return
            pdu, self._received = self._received[_HEADER.size : end], self._received[end:]
            if self._transport.is_closing():
                return
            try:
                response = self._endpoint.answer(unit, pdu)
            except JournalError as error:
                self._transport.abort()
                self._endpoint.fail(error)
                return
            self._transport.write(_HEADER.pack(transaction, 0, len(response) + 1, unit) + response)


class ModbusEndpoint:
    """A TCP endpoint with `units` behind it. An async context manager; `port` is the one it listens on.

    Raises EndpointError when the address cannot be listened on; `wait_failed` raises the JournalError that ended it.
    """

    def __init__(self, *, host: str, port: int, units: Mapping[int, Unit]) -> None:
        self.host, self.port = host, port
        self._units = units
        self.connections: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._failed: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "ModbusEndpoint":
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        except OSError as error:
            raise EndpointError(host=self.host, port=self.port, found=error.strerror or str(error)) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._failed is not None
        self._server.close()
        for transport in list(self.connections):
            transport.close()
        await self._server.wait_closed()
        self._failed.cancel()

    async def wait_failed(self) -> None:
        assert self._failed is not None
        await self._failed

    def answer(self, unit: int, pdu: bytes) -> bytes:
        found = self._units.get(unit)
        return _exception(pdu[0], GATEWAY_TARGET_FAILED) if found is None else found.answer(pdu)

    def fail(self, error: JournalError) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
