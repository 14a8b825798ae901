"""Answers that are held back: who guesses is slow at it, and how long an answer took tells nothing.

To wait costs a connection and nothing else, so that a thousand guesses take no time from anybody else.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")

REFUSED_S = 1.0
"""How long somebody waits to hear that there were too many attempts."""
_STEP_S = 0.1
# More than these hear at once: connections are not endless either.
_MOST = 500


class Pace:
    """Of one process. Without `even`, as in development, where answers tell codes, none waits for a step."""

    def __init__(self, *, even: bool, most: int = _MOST) -> None:
        self._even, self._most = even, most
        self._held = 0

    async def hold(self, seconds: float) -> None:
        """Waits, unless as many do already as may."""
        if self._held >= self._most:
            return
        self._held += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= 1

    async def step(self, work: Awaitable[_Answer]) -> _Answer:
        """What `work` answers or raises, after a whole number of steps of a tenth of a second."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            return await work
        finally:
            if self._even:
                await self.hold(_STEP_S - (clock() - began_s) % _STEP_S)


def even(endpoint: Callable[_Given, Awaitable[_Answer]]) -> Callable[_Given, Awaitable[_Answer]]:
    """An endpoint, with the argument `parts`, whose answer must not tell by its time who has an account: what is found
    and written for them takes some milliseconds more."""

    @functools.wraps(endpoint)
    async def evened(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
        pace: Pace = named["parts"].pace  # type: ignore[attr-defined]
        return await pace.step(endpoint(*given, **named))

    return evened
