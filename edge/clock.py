"""Time as a parameter: what the daemon takes from the machine's clocks, so that tests can bring their own."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

STEP_S = 2.0
"""How long a loop of the daemon waits at most before it shows that it moves."""


def _unix_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """`now_us()` is wall time in microseconds since 1970-01-01T00:00:00Z; `monotonic_s()` never goes back."""

    now_us: Callable[[], int] = _unix_us
    monotonic_s: Callable[[], float] = time.monotonic


async def signalled(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `event`, `timeout_s` seconds at most; whether it is set."""
    if timeout_s > 0 and not event.is_set():
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return event.is_set()
    return event.is_set()


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
