"""A non-blocking file, be it a socket or a serial port, as the transport of a connection."""

import asyncio
import termios
from collections.abc import Callable
from typing import Protocol

from edge.drivers.modbus.connection import Connection

_READ_BYTES = 4096


class File(Protocol):
    def fileno(self) -> int: ...

    def close(self) -> None: ...


class FileTransport:
    """Reads when the event loop says that there is something, and writes at once: a frame always fits what the kernel
    buffers, or nobody takes it away."""

    def __init__(
        self,
        file: File,
        connection: Connection,
        *,
        read: Callable[[int], bytes],
        write: Callable[[bytes], int],
    ) -> None:
        self._file, self._connection = file, connection
        self._read, self._write = read, write
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(file.fileno(), self._readable)

    def write(self, data: bytes) -> None:
        if not self._open:
            # The connection hears of it soon; until then another file may be open under the same number.
            return
        try:
            if self._write(data) < len(data):
                self._lost(OSError("the other side takes no more bytes"))
        except (OSError, termios.error) as error:
            self._lost(error)

    def abort(self) -> None:
        self._lost(None)

    def _readable(self) -> None:
        try:
            data = self._read(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._connection.data_received(data)
        else:
            self._lost(None)

    def _lost(self, error: Exception | None) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._file.fileno())
            self._file.close()
            self._loop.call_soon(self._connection.connection_lost, error)
