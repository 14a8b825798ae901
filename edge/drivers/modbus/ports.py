"""Ways to an endpoint: a TCP socket, TLS on one, a serial port. Each opens connections, one after the other."""

import asyncio
import os
import socket
import ssl
import termios
from typing import Literal

import serial

from edge.drivers.modbus.connection import Connection
from edge.drivers.modbus.framing import Framing
from edge.errors import ModbusFault

Parity = Literal["none", "even", "odd"]
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
_READ_BYTES = 4096
# Above 19,200 baud the standard fixes the silence between frames: Modbus over Serial Line V1.02, 2.5.1.1.
_FAST_BAUD, _FAST_SILENCE_S = 19_200, 0.001_75


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
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                transport, connection = await loop.create_connection(
                    lambda: Connection(framing),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._server_name,
                )
        except TimeoutError as error:
            reason = f"{self.endpoint} cannot be reached within {self._connect_timeout_s:g} s"
            raise ModbusFault(reason, line_lost=True) from error
        except OSError as error:  # ssl.SSLError and socket.gaierror are OSErrors
            raise ModbusFault(f"{self.endpoint} cannot be reached: {_reason(error)}", line_lost=True) from error
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        return connection


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
        connection.connection_made(_Tty(tty, connection))
        return connection


class _Tty:
    """A serial port that is read when the loop says so, and written at once: a frame fits the driver's buffer."""

    def __init__(self, tty: serial.Serial, connection: Connection) -> None:
        self._tty, self._connection = tty, connection
        self._loop = asyncio.get_running_loop()
        self._fd = tty.fileno()
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        try:
            termios.tcflush(self._fd, termios.TCIFLUSH)
            if os.write(self._fd, data) < len(data):
                self._lost(OSError("the port takes no more bytes"))
        except (OSError, termios.error) as error:
            self._lost(error)

    def abort(self) -> None:
        self._lost(None)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._connection.data_received(data)
        else:
            self._lost(OSError("the port was unplugged"))

    def _lost(self, error: Exception | None) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._fd = -1
            self._tty.close()
            self._connection.is_open = False
            self._loop.call_soon(self._connection.connection_lost, error)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error)
