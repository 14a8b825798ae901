"""One client's requests on one wire: answered in order, each after the time that it takes, late ones out of turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from firmware_sim.errors import JournalError
from firmware_sim.modbus.answer import GATEWAY_TARGET_FAILED, Answer, Bus, exception
from firmware_sim.modbus.framing import Framing, FramingError, Request

_BITS_PER_CHARACTER = 11
_MIN_GAP_S = 0.02


class Wire(Protocol):
    """Where replies go; asyncio's transports are ones."""

    def write(self, data: bytes, /) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...


class Conversation:
    """`bit_s` is how long a bit takes, 0 on a network. `silence_s` is what the meters need before a request.

    A request that comes sooner than that after the last frame gets no answer.
    `fail` is told the JournalError that ends it all.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        framing: Framing,
        wire: Wire,
        fail: Callable[[JournalError], None],
        bit_s: float = 0.0,
        silence_s: float = 0.0,
    ) -> None:
        self._bus, self._framing, self._wire, self._fail = bus, framing, wire, fail
        self._character_s, self._silence_s = bit_s * _BITS_PER_CHARACTER, silence_s
        # 3.5 characters by the standard; a system that is not a real-time one needs more to be sure.
        self._gap_s = max(3.5 * self._character_s, _MIN_GAP_S)
        self._loop = asyncio.get_running_loop()
        self._requests: deque[Request] = deque()
        self._busy: asyncio.TimerHandle | None = None
        self._gap: asyncio.TimerHandle | None = None
        self._late: dict[int, tuple[asyncio.TimerHandle, bytes]] = {}
        self._late_numbers = count()
        self._quiet_from_s = 0.0

    def received(self, data: bytes) -> None:
        """Bytes from the client, of any number of requests or of a piece of one."""
        if self._gap is not None:
            self._gap.cancel()
            self._gap = None
        try:
            requests = self._framing.feed(data)
        except FramingError:
            self._wire.abort()
            return
        if self._framing.unfinished:
            self._gap = self._loop.call_later(self._gap_s, self._silence)
        self._take(requests)

    def ended(self) -> None:
        """The client is gone: nothing more is sent."""
        for timer in (self._busy, self._gap, *(timer for timer, _ in self._late.values())):
            if timer is not None:
                timer.cancel()
        self._requests.clear()
        self._late.clear()

    def _silence(self) -> None:
        self._gap = None
        self._take(self._framing.gap())

    def _take(self, requests: list[Request]) -> None:
        if self._silence_s and self._loop.time() - self._quiet_from_s < self._silence_s:
            self._quiet_from_s = self._loop.time()
            return
        self._requests.extend(requests)
        if self._busy is None:
            self._proceed()

    def _proceed(self) -> None:
        self._busy = None
        while self._requests and not self._wire.is_closing():
            request = self._requests.popleft()
            answer = self._answer(request)
            takes_s = request.size * self._character_s
            if answer is not None and not answer.late:
                takes_s += answer.delay_s + len(self._framed(request, answer)) * self._character_s
            if takes_s:
                self._busy = self._loop.call_later(takes_s, self._finish, request, answer)
                return
            self._send(request, answer)

    def _finish(self, request: Request, answer: Answer | None) -> None:
        self._send(request, answer)
        self._proceed()

    def _answer(self, request: Request) -> Answer | None:
        if self._framing.is_rtu and request.unit == 0:
            self._bus.broadcast(request.pdu)
            return None
        answer = self._bus.answer(request.unit, request.pdu)
        if answer is None and not self._framing.is_rtu:
            return Answer(exception(request.pdu[0], GATEWAY_TARGET_FAILED))
        return answer

    def _framed(self, request: Request, answer: Answer) -> bytes:
        if answer.raw is not None:
            return answer.raw
        if answer.pdu is None:
            return b""
        frame = self._framing.frame(request, answer.pdu, unit=answer.unit, transaction_offset=answer.transaction_offset)
        return frame if answer.spoil is None else answer.spoil(frame)

    def _send(self, request: Request, answer: Answer | None) -> None:
        if answer is None or self._wire.is_closing():
            return
        if answer.close == "at once":
            self._wire.abort()
            return
        frame = self._framed(request, answer)
        if not frame:
            return
        if answer.late:
            number = next(self._late_numbers)
            self._late[number] = (self._loop.call_later(answer.delay_s, self._send_late, number), frame)
            return
        for number in list(self._late):
            self._send_late(number)
        if answer.serve is not None:
            try:
                answer.serve()
            except JournalError as error:
                self._wire.abort()
                self._fail(error)
                return
        self._write(frame)
        if answer.close == "after":
            self._wire.close()

    def _send_late(self, number: int) -> None:
        timer, frame = self._late.pop(number)
        timer.cancel()
        if not self._wire.is_closing():
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        self._wire.write(frame)
        self._quiet_from_s = self._loop.time()
