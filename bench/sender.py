"""Posts of ready-made bodies over kept connections, at a tenth of what an HTTP library costs: it shares the cores with
what is measured."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from contract.codec import PACKED

_READY_TIMEOUT_S = 30
_BUSY_S = 0.2


class Refusal(RuntimeError):
    """An answer that will not become 200 when asked again."""


def await_ready(port: int) -> None:
    """Returns once the receiver would store a batch. Raises TimeoutError."""
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"the receiver was not ready within {_READY_TIMEOUT_S} s")


class Connection:
    """One kept connection. `post` raises Refusal."""

    def __init__(self, port: int, key: str, media_type: str = PACKED) -> None:
        self._port = port
        self._head = (
            f"POST /ingest/v1/batches HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
            f"content-type: {media_type}\r\ncontent-encoding: zstd\r\ncontent-length: "
        ).encode()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, body: bytes) -> None:
        """Returns with the receipt; a receiver that is busy is asked again."""
        while True:
            self._writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            answer = await self._reader.readuntil(b"\r\n\r\n")
            length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            text = await self._reader.readexactly(int(length))
            if answer.startswith(b"HTTP/1.1 200"):
                return
            if answer[9:12] not in (b"429", b"503"):
                raise Refusal(f"{answer.splitlines()[0].decode()}: {text.decode()}")
            await asyncio.sleep(_BUSY_S)


async def post_all(port: int, key: str, media_type: str, bodies: Iterable[bytes], *, connections: int) -> float:
    """Seconds from the first body to the last receipt. Raises Refusal."""
    waiting = iter(bodies)
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Connection(port, key, media_type)) for _ in range(connections)]
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(_post(connection, waiting))
        return time.monotonic() - began_s


async def _post(connection: Connection, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        await connection.post(body)
