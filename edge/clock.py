"""Time as a parameter: what the daemon takes from the machine's clocks, so that tests can bring their own."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


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
