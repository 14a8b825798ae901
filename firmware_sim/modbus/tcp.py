"""A TCP endpoint: Modbus TCP or RTU frames, plain or in TLS, and the ways in which gateways refuse to talk."""

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import cast

from firmware_sim.clock import Clock, now_us
from firmware_sim.errors import EndpointError
from firmware_sim.faults.faults import Faults
from firmware_sim.modbus.answer import Bus
from firmware_sim.modbus.conversation import Conversation
from firmware_sim.modbus.endpoint import Endpoint
from firmware_sim.modbus.framing import Framing


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, endpoint: "TcpEndpoint") -> None:
        self._endpoint = endpoint
        self._conversation: Conversation | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an instance of it on uvloop, but one in all that matters.
        self._transport = cast(asyncio.Transport, transport)
        if self._endpoint.admits(self._transport):
            self._conversation = self._endpoint.conversation(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._endpoint.connections.discard(self._transport)
        if self._conversation is not None:
            self._conversation.ended()

    def data_received(self, data: bytes) -> None:
        if self._conversation is not None and not self._endpoint.silent:
            self._conversation.received(data)


class TcpEndpoint(Endpoint):
    """`bus` behind `host`:`port`; `framing` makes one per connection. Raises EndpointError when it cannot listen."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        bus: Bus,
        framing: Callable[[], Framing],
        faults: Faults,
        tls: ssl.SSLContext | None = None,
        silence_s: float = 0.0,
        clock: Clock = now_us,
    ) -> None:
        super().__init__()
        self.host, self.port = host, port
        self.place = f"{host}:{port}"
        self.connections: set[asyncio.Transport] = set()
        self._bus, self._framing, self._tls, self._silence_s = bus, framing, tls, silence_s
        self._clock, self._faults = clock, faults
        self._server: asyncio.Server | None = None
        faults.changed = self.changed

    async def __aenter__(self) -> "TcpEndpoint":
        await self._listen()
        assert self._server is not None
        self.port = self._server.sockets[0].getsockname()[1]
        self.place = f"{self.host}:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self._server
        self._close()
        for transport in list(self.connections):
            transport.close()
        if server is not None:
            await server.wait_closed()

    async def adjust(self) -> float | None:
        now = self._clock()
        refusing = self._faults.lasting("refuse", now) is not None
        if refusing and self._server is not None:
            self._close()
            for transport in list(self.connections):
                transport.abort()
        elif not refusing and self._server is None:
            await self._listen()
        change_us = self._faults.next_change_us(now)
        return None if change_us is None else (change_us - now) / 1e6

    @property
    def silent(self) -> bool:
        return bool(self._faults) and self._faults.lasting("silent", self._clock()) is not None

    def admits(self, transport: asyncio.Transport) -> bool:
        """Takes `transport` among the connections, or closes it, or closes the others for it."""
        now = self._clock()
        one = self._faults.lasting("one-connection", now) if self._faults else None
        if self._faults and self._faults.lasting("close-on-accept", now) is not None:
            transport.close()
            return False
        if one is not None and self.connections:
            if one.spec.variant == "refuse":
                transport.close()
                return False
            for other in list(self.connections):
                other.close()
        self.connections.add(transport)
        return True

    def conversation(self, transport: asyncio.Transport) -> Conversation:
        return Conversation(
            bus=self._bus, framing=self._framing(), wire=transport, fail=self.fail, silence_s=self._silence_s
        )

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: _Connection(self), self.host, self.port, ssl=self._tls, reuse_address=True
            )
        except OSError as error:
            raise EndpointError(place=self.place, found=error.strerror or str(error)) from error

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
