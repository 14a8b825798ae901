"""Ways to an endpoint: a TCP socket, TLS on one, a serial port. Each opens connections, one after the other."""

import asyncio
import os
import socket
import ssl
import termios
from typing import Literal, Protocol

from edge.drivers.modbus.connection import Connection
from edge.drivers.modbus.framing import Framing
from edge.drivers.modbus.transport import FileTransport
from edge.errors import ModbusFault

Parity = Literal["none", "even", "odd"]
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
# Above 19,200 baud the standard fixes the silence between frames: Modbus over Serial Line V1.02, 2.5.1.1.
_FAST_BAUD, _FAST_SILENCE_S = 19_200, 0.001_75


class Port(Protocol):
    """`silence_s` is kept before each request. `character_s` is how long a character is on the wire. With `redials` a
    request without an answer ends the connection."""

    endpoint: str
    silence_s: float
    character_s: float
    redials: bool

    async def open(self, framing: Framing) -> Connection: ...


class TcpPort:
    """`host:port`, with TLS where there is a context. `character_s` is how long a character is on the wire: no time."""

    character_s = 0.0
    redials = True

    def __init__(
        self,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        server_name: str | None,
        connect_timeout_s: float,
        silence_s: float,
    ) -> None:
        self.endpoint = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.silence_s = silence_s
        self._host, self._port, self._tls, self._connect_timeout_s = host, port, tls, connect_timeout_s
        self._server_name = (server_name or host) if tls else None

    async def open(self, framing: Framing) -> Connection:
        """Raises ModbusFault when the endpoint cannot be reached in time."""
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await (self._open(framing) if self._tls is None else self._open_tls(framing, self._tls))
        except TimeoutError as error:
            reason = f"{self.endpoint} cannot be reached within {self._connect_timeout_s:g} s"
            raise ModbusFault(reason, line_lost=True) from error
        # ssl.SSLError and socket.gaierror are OSErrors; a name that cannot be one is a UnicodeError or ValueError.
        except (OSError, ValueError) as error:
            raise ModbusFault(f"{self.endpoint} cannot be reached: {_reason(error)}", line_lost=True) from error

    async def _open(self, framing: Framing) -> Connection:
        """On a socket of our own: a transport of the event loop's takes a fifth longer for a request."""
        sock = await self._connected()
        connection = Connection(framing)
        connection.connection_made(FileTransport(sock, connection, read=sock.recv, write=sock.send))
        return connection

    async def _open_tls(self, framing: Framing, tls: ssl.SSLContext) -> Connection:
        # A name that can be none is refused here: once there is a socket, the event loop would leave it open for that.
        tls.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=self._server_name)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(framing),
            sock=await self._connected(),
            ssl=tls,
            server_hostname=self._server_name,
        )
        return connection

    async def _connected(self) -> socket.socket:
        """A socket to the first address that can be reached. None may use up the time of those after it: of a name
        with an IPv6 and an IPv4 address, often only one leads anywhere."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._connect_timeout_s
        error: OSError = OSError("no address")
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
            try:
                async with asyncio.timeout((deadline_s - loop.time()) / left):
                    await loop.sock_connect(sock, address)
            except OSError as refused:  # TimeoutError is one
                sock.close()
                error = refused
            except BaseException:
                sock.close()
                raise
            else:
                _prepare(sock)
                return sock
        raise error


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


class SerialPort:
    """A tty at `path`. `silence_s` is at least that of the standard for its speed."""

    redials = False

    def __init__(
        self, *, path: str, baud_rate: int, parity: Parity, stop_bits: Literal[1, 2], silence_s: float | None
    ) -> None:
        self.endpoint = path
        self._baud_rate, self._parity, self._stop_bits = baud_rate, parity, stop_bits
        self.character_s = (9 + stop_bits + (parity != "none")) / baud_rate
        least_s = _FAST_SILENCE_S if baud_rate > _FAST_BAUD else 3.5 * self.character_s
        self.silence_s = max(least_s, silence_s or 0.0)

    async def open(self, framing: Framing) -> Connection:
        """Raises ModbusFault when the port is missing, in use or no serial port."""
        # Loaded by those gateways alone that have a serial line.
        import serial

        try:
            tty = serial.Serial(
                port=self.endpoint,
                baudrate=self._baud_rate,
                parity=self._parity[0].upper(),
                stopbits=self._stop_bits,
                timeout=0,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:  # serial.SerialException is an OSError
            raise ModbusFault(f"{self.endpoint} cannot be opened: {_reason(error)}", line_lost=True) from error
        connection = Connection(framing, character_s=self.character_s)
        fd = tty.fileno()

        def write(data: bytes) -> int:
            # What came before the request answers no request.
            termios.tcflush(fd, termios.TCIFLUSH)
            return os.write(fd, data)

        connection.connection_made(FileTransport(tty, connection, read=lambda size: os.read(fd, size), write=write))
        return connection


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error)
