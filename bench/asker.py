"""`python -m bench.asker SECONDS CONNECTIONS`: asks as fast as answers come, one question at a time on a connection.

On standard input: the port, then one request a line, as JSON strings; they are taken in turn. Prints how many were
answered, the seconds that took, the 99th percentile of the latency in ms, and the size of a body in bytes.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import cast

import uvloop


class _Connection(asyncio.Protocol):
    """Asks again when an answer is whole. Only 200 with a Content-Length will do."""

    def __init__(self, requests: Iterator[bytes], until_s: float) -> None:
        self._requests, self._until_s = requests, until_s
        self._answer = bytearray()
        self.took_s: list[float] = []
        self.length = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._asked_s = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        if head < 0:
            return
        headers = bytes(self._answer[:head]).lower()
        length = int(headers.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self._answer) < head + 4 + length:
            return
        if not headers.startswith(b"http/1.1 200"):
            self.done.set_exception(RuntimeError(self._answer.decode()))
            return
        now_s = time.perf_counter()
        self.took_s.append(now_s - self._asked_s)
        self.length = length
        self._answer.clear()
        if now_s < self._until_s:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the connection was closed: {error}"))


async def _main(seconds: float, connections: int, port: int, requests: list[bytes]) -> None:
    began_s = time.perf_counter()
    loop, turns = asyncio.get_running_loop(), cycle(requests)
    made = [
        (await loop.create_connection(lambda: _Connection(turns, began_s + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(one.done for one in made))
    took_s = sorted(took for one in made for took in one.took_s)
    print(len(took_s), time.perf_counter() - began_s, 1000 * took_s[int(0.99 * len(took_s))], made[0].length)


if __name__ == "__main__":
    port_, *requests_ = sys.stdin.read().splitlines()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        asked = [json.loads(line).encode() for line in requests_]
        runner.run(_main(float(sys.argv[1]), int(sys.argv[2]), int(port_), asked))
