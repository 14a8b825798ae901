"""Posts of ready-made bodies over kept connections, at a tenth of what an HTTP library costs: it shares the cores with
what is measured."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from urllib.request import urlopen

_READY_TIMEOUT_S = 30


class Refusal(RuntimeError):
    """An answer other than 200."""


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


async def post_all(port: int, key: str, media_type: str, bodies: Iterable[bytes], *, connections: int) -> float:
    """Seconds from the first body to the last receipt. Raises Refusal."""
    head = (
        f"POST /ingest/v1/batches HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        f"content-type: {media_type}\r\ncontent-encoding: zstd\r\ncontent-length: "
    ).encode()
    waiting = iter(bodies)
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for reader, writer in streams:
            group.create_task(_post(reader, writer, head, waiting))
    took_s = time.monotonic() - began_s
    for _, writer in streams:
        writer.close()
    return took_s


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, bodies: Iterator[bytes]
) -> None:
    for body in bodies:
        writer.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        text = await reader.readexactly(int(length))
        if not answer.startswith(b"HTTP/1.1 200"):
            raise Refusal(f"{answer.splitlines()[0].decode()}: {text.decode()}")
