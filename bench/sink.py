"""A receiver that takes all that comes, and remembers when each device was read: a gateway can be measured alone."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
import uvicorn

from contract.answer import CREDIT, TIME
from contract.codec import PACKED, checksum, decode, decompress
from contract.receipt import Receipt, StreamState
from local.servers import free_port

_LARGEST_BATCH = 2**26


class Sink:
    """An HTTP server in a thread of its own, a context manager. `times_us` are the readings' times by device."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.times_us: dict[str, list[int]] = defaultdict(list)
        self._seqs: dict[str, set[int]] = defaultdict(set)

    @property
    def readings(self) -> int:
        return sum(map(len, list(self.times_us.values())))

    def __enter__(self) -> "Sink":
        config = uvicorn.Config(
            self._app, interface="asgi3", host="127.0.0.1", port=self.port, log_level="error", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[started], daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def _run(self, started: threading.Event) -> None:
        async def serve() -> None:
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            started.set()
            await serving

        asyncio.run(serve())

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        match scope["method"]:
            case "POST":
                status, answer = 200, msgspec.json.encode(self._receipt(body, headers))
            case "GET":
                status, answer = 200, msgspec.json.encode(self._state(scope["path"].rpartition("/")[2]))
            case _:
                status, answer = 204, b""
        told = [(b"content-type", b"application/json"), (CREDIT.encode(), b"1"), (TIME.encode(), b"%d" % _now_us())]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": answer})

    def _state(self, stream: str) -> StreamState:
        return StreamState(stream, [(seq, seq) for seq in sorted(self._seqs[stream])], [PACKED])

    def _receipt(self, body: bytes, headers: Mapping[str, str]) -> Receipt:
        plain = decompress(body, headers["content-encoding"], _LARGEST_BATCH)
        batch = decode(plain, headers["content-type"])
        for block in batch.devices:
            self.times_us[block.device] += block.time_us
        self._seqs[batch.stream].add(batch.seq)
        return Receipt(1, batch.stream, batch.seq, checksum(plain), batch.readings, batch.readings, 0, [])


def _now_us() -> int:
    return time.time_ns() // 1000
