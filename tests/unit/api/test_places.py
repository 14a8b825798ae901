"""Answers that take their time, and clients that take theirs."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from cloud.api.http.errors import TooMany
from cloud.api.http.places import Placed, Places
from local.servers import free_port

_PART = bytes(100_000)


class _Files:
    """An application that sends `parts` to whoever asks, and has one place."""

    def __init__(self, *, parts: int) -> None:
        self.places, self.ended = Places(of_one=1, of_all=1), 0
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.places.take(1)
        answer = Placed(
            self._content(),
            places=self.places,
            user_id=1,
            headers={},
            media_type="text/plain",
            patience_s=0.5,
            slowest=10_000_000,
        )
        await answer(scope, receive, send)

    async def _content(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self._parts):
                yield _PART
        finally:
            self.ended += 1


@contextmanager
def _serving(files: _Files) -> Iterator[int]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(files, port=port, log_config=None, lifespan="off"))
    thread = Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def _asked(port: int) -> socket.socket:
    client = socket.socket()
    # What waits in the kernel was taken, as far as the server can see.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    return client


def test_a_client_that_takes_nothing_gives_its_place_up() -> None:
    """Four of them would hold all places of exports for as long as they like."""
    files = _Files(parts=1000)
    with _serving(files) as port, _asked(port) as client:
        deadline_s = time.monotonic() + 20
        while not files.ended and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert files.ended == 1
        files.places.take(1)
        client.settimeout(20)
        taken = 0
        while part := client.recv(1 << 20):
            taken += len(part)
    # It is not whole, and says so: the last part, of no length, is lacking.
    assert taken < 1000 * len(_PART)


def test_a_client_that_takes_its_time_and_all_of_it_is_waited_for() -> None:
    files = _Files(parts=30)
    with _serving(files) as port, _asked(port) as client:
        client.settimeout(20)
        answer = bytearray()
        began = time.monotonic()
        while part := client.recv(1 << 16):
            answer += part
            # Slower than all patience, were it not for what was sent meanwhile: 3 MB at 10 MB/s are 0.3 s more.
            time.sleep(max(0.0, 0.7 * len(answer) / 3_000_000 - (time.monotonic() - began)))
    assert answer.endswith(b"\r\n0\r\n\r\n")
    assert len(answer) > 30 * len(_PART)


def test_a_place_is_given_back_as_often_as_it_was_taken() -> None:
    places = Places(of_one=2, of_all=3)
    for user_id in (1, 1, 2):
        places.take(user_id)
    for user_id in (1, 2, 3):
        with pytest.raises(TooMany):
            places.take(user_id)
    places.give(1)
    places.take(3)
