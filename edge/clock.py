"""Time as a parameter: what the daemon takes from the machine's clocks, so that tests can bring their own."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

STEP_S = 2.0
"""How long a loop of the daemon waits at most before it shows that it moves."""


def _unix_us() -> int:
    return time.time_ns() // 1000


def _boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


# Both clocks are read within this, or once more: a process that was stopped between the two sees no step.
_PROMPT_US, _TRIES = 20_000, 3


@dataclass(slots=True, eq=False)
class Clock:
    """`now_us()` is wall time in microseconds since 1970-01-01T00:00:00Z; `monotonic_s()` never goes back.

    `boottime_us()` is microseconds since the machine started, those that it slept among them: nobody can set it.
    """

    now_us: Callable[[], int] = _unix_us
    monotonic_s: Callable[[], float] = time.monotonic
    boottime_us: Callable[[], int] = _boottime_us
    _told_us: int = field(default=0, init=False)

    def offset_us(self) -> int:
        """The wall clock less `boottime_us`: the same, but for slewing, while nobody sets the wall clock."""
        offset_us = self.now_us() - self.boottime_us()
        if not -_PROMPT_US < offset_us - self._told_us < _PROMPT_US:
            # The clock was set, or the process was stopped between the two.
            offset_us = self._measured_us()
        self._told_us = offset_us
        return offset_us

    def _measured_us(self) -> int:
        for _ in range(_TRIES):
            before_us = self.boottime_us()
            wall_us = self.now_us()
            after_us = self.boottime_us()
            if after_us - before_us < _PROMPT_US:
                break
        return wall_us - (before_us + after_us) // 2


_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def utc(time_us: int) -> str:
    """ISO 8601 of microseconds since 1970, as exact as they are; as a number where no calendar reaches."""
    try:
        moment = _1970 + timedelta(microseconds=time_us)
    except OverflowError:
        return f"{time_us} microseconds since 1970"
    kept = "microseconds" if time_us % 1000 else "milliseconds" if time_us % 1_000_000 else "seconds"
    return moment.isoformat(timespec=kept).replace("+00:00", "Z")


async def signalled(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `event`, `timeout_s` seconds at most; whether it is set."""
    if timeout_s > 0 and not event.is_set():
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return event.is_set()
    return event.is_set()


class Waiting:
    """Waits of one task for `stop` or a time-out, an async context manager.

    At half the cost of `signalled`, which matters where there is one a second for each of hundreds of meters.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Waiting":
        self._loop = asyncio.get_running_loop()
        self._stopping = self._loop.create_task(self._stop.wait(), name="waiting for the stop")
        self._stopping.add_done_callback(self._wake)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.cancel()

    async def wait(self, timeout_s: float) -> None:
        """Until `stop` is set, `timeout_s` seconds at most."""
        if self._stop.is_set():
            return
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def either(first: asyncio.Event, second: asyncio.Event, timeout_s: float) -> bool:
    """Wait for one of two events, `timeout_s` seconds at most; whether one is set."""
    if first.is_set() or second.is_set():
        return True
    waits = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return first.is_set() or second.is_set()


async def pause(stop: asyncio.Event, seconds: float, moving: Callable[[], None]) -> None:
    """Wait for `stop`, `seconds` at most, and call `moving` at every step: a long wait is no stall."""
    while seconds > 0 and not stop.is_set():
        moving()
        await signalled(stop, min(seconds, STEP_S))
        seconds -= STEP_S
