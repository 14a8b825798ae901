"""Meters on a serial line: the other end of a pty, which hears whole requests and answers as told."""

import asyncio
import os
import struct
import time
import tty
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

Answer = Callable[[int, int, int, int], Sequence[tuple[float, bytes]]]
"""Of unit, function, address, count: what to send, each part after so many seconds."""


def crc(data: bytes) -> bytes:
    """By the bit, as in the standard's description."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


def frame(unit: int, function: int, words: Sequence[int]) -> bytes:
    body = struct.pack(f">BBB{len(words)}H", unit, function, 2 * len(words), *words)
    return body + crc(body)


def floats(unit: int, function: int, count: int, value: float) -> bytes:
    """Every float32 of the reply is `value`."""
    return frame(unit, function, struct.unpack(">HH", struct.pack(">f", value)) * (count // 2))


class RtuMeters:
    """`requests` has time and bytes of all that was heard, `sent_s` when something was last said."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[tuple[float, bytes]] = []
        self.gaps_s: list[float] = []
        self.sent_s: float | None = None
        self._heard = b""
        self._saying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.fd, self._line = os.openpty()
        tty.setraw(self._line)
        os.set_blocking(self.fd, False)
        self.path = os.ttyname(self._line)
        asyncio.get_running_loop().add_reader(self.fd, self._listen)
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """What has the line open sees it hang up."""
        for saying in self._saying:
            saying.cancel()
        if self.fd >= 0:
            asyncio.get_running_loop().remove_reader(self.fd)
            os.close(self.fd)
            os.close(self._line)
            self.fd = -1

    def _listen(self) -> None:
        self._heard += os.read(self.fd, 256)
        while len(self._heard) >= 8:
            request, self._heard = self._heard[:8], self._heard[8:]
            assert crc(request[:-2]) == request[-2:]
            now_s = time.monotonic()
            self.requests.append((now_s, request))
            if self.sent_s is not None:
                self.gaps_s.append(now_s - self.sent_s)
            unit, function, address, count = struct.unpack(">BBHH", request[:-2])
            task = asyncio.ensure_future(self._say(self.answer(unit, function, address, count)))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _say(self, parts: Sequence[tuple[float, bytes]]) -> None:
        for delay_s, data in parts:
            await asyncio.sleep(delay_s)
            os.write(self.fd, data)
            self.sent_s = time.monotonic()
