"""The daemon's answer to `segs-edge status`: a Unix socket in the data folder, so that nothing is written for it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from edge.status.running import Running

_LOG = structlog.get_logger("edge.status")
_SOCKET = "status.sock"
_PATIENCE_S = 5.0


class StatusServer:
    """Answers whoever connects with `running` as JSON; an async context manager.

    There is one daemon at a data folder, so a socket that is there is a dead one's. Where none can be made, the status
    file has to do.
    """

    def __init__(self, *, data_dir: Path, running: Callable[[], Running], patience_s: float = _PATIENCE_S) -> None:
        self._data_dir, self._running, self._patience_s = data_dir, running, patience_s
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "StatusServer":
        try:
            self._server = await asyncio.start_unix_server(self._answer, sock=_listener(self._data_dir))
        except OSError as error:
            _LOG.warning("status is answered from its file", reason=str(error))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                (self._data_dir / _SOCKET).unlink(missing_ok=True)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who does not read it is not waited for, and nothing is kept for him.
        try:
            async with asyncio.timeout(self._patience_s):
                writer.write(msgspec.json.encode(self._running()))
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()


def ask(data_dir: Path) -> Running | None:
    """What the daemon at `data_dir` says of itself now; None where none answers, or another release's does."""
    answer = bytearray()
    try:
        with _short(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_PATIENCE_S)
            client.connect(path)
            while data := client.recv(65_536):
                answer += data
        return msgspec.json.decode(answer, type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def _listener(data_dir: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(data_dir) as path:
            Path(path).unlink(missing_ok=True)
            listener.bind(path)
            os.chmod(path, 0o660)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _short(data_dir: Path) -> Iterator[str]:
    """The socket's path by way of an open folder: an address has room for 107 bytes, and paths may be longer."""
    folder = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{_SOCKET}"
    finally:
        os.close(folder)
