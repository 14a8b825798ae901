"""The link between the gateway and its receivers: a TCP proxy that shares the load, and fails as links do."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_CHUNK = 65_536
_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Weather:
    """How the link is. Connections that are there when it changes are under the new one from then on.

    `refusing`: they are reset, and new ones too. `silent`: nothing passes, nobody is told. `deaf`: requests pass, what
    is answered is dropped. `delay_s` goes on top of each piece, either way; `bytes_per_s` bounds each direction of each
    connection, 0 for no bound. `resets` is the chance that a piece of an answer becomes a reset instead.
    """

    refusing: bool = False
    silent: bool = False
    deaf: bool = False
    delay_s: float = 0.0
    bytes_per_s: int = 0
    resets: float = 0.0


FAIR = Weather()


class Proxy:
    """Listens on `port` of 127.0.0.1 in a thread of its own; a connection goes to the next of `targets` that takes it.

    A context manager. `weather` may be set at any time, by any thread.
    """

    def __init__(self, *, port: int, targets: Sequence[int], seed: int = 0) -> None:
        self._port, self._targets = port, list(targets)
        self._turn = 0
        self._chance = random.Random(seed)
        self._weather = FAIR
        self._connections: set[_Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._changed: asyncio.Event | None = None
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._become, weather)

    def _become(self, weather: Weather) -> None:
        self._weather = weather
        if weather.refusing:
            self._abort_all()
        assert self._changed is not None
        self._changed.set()
        self._changed = asyncio.Event()

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop, self._changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._accepted, "127.0.0.1", self._port)
        except OSError as error:
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.drop()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.get_running_loop().create_task(self._accept(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather.refusing or (target := await self._connected()) is None:
            _reset(writer)
            return
        connection = _Connection((reader, writer), target)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, target[1], connection, answers=False))
                group.create_task(self._pass(target[0], writer, connection, answers=True))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            connection.abort()
            await connection.closed()
            self._connections.discard(connection)

    async def _connected(self) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter] | None":
        self._turn += 1
        first = self._turn % len(self._targets)
        for port in self._targets[first:] + self._targets[:first]:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pass(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, connection: "_Connection", *, answers: bool
    ) -> None:
        """Pieces from `source` to `to` until the source ends, which ends the connection."""
        while piece := await source.read(_CHUNK):
            while self._weather.silent:
                assert self._changed is not None
                await self._changed.wait()
            weather = self._weather
            if answers and weather.deaf:
                continue
            if answers and self._chance.random() < weather.resets:
                connection.abort()
                return
            wait_s = weather.delay_s + (len(piece) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
            if wait_s:
                await asyncio.sleep(wait_s)
            to.write(piece)
            await to.drain()
        connection.end(to)


class _Connection:
    """One connection of the gateway and the one behind it."""

    def __init__(self, *sides: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._sides = sides

    def abort(self) -> None:
        for _, writer in self._sides:
            _reset(writer)

    def drop(self) -> None:
        """End at once, also what waits for its last bytes to leave."""
        for _, writer in self._sides:
            writer.transport.abort()

    async def closed(self) -> None:
        for _, writer in self._sides:
            with suppress(OSError):
                await writer.wait_closed()

    def end(self, side: asyncio.StreamWriter) -> None:
        """Close after what was written to `side` has left, and the other side at once."""
        for _, writer in self._sides:
            if writer is side:
                writer.close()
            else:
                writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection by RST, as a router does that has forgotten it."""
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
