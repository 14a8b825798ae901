"""A named loop over one kind of work: step, pause, step; a database that fails is waited for, whatever it takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from psycopg import AsyncConnection, Error, InterfaceError, OperationalError
from psycopg.errors import QueryCanceled
from psycopg_pool import PoolTimeout
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_when_event_set,
    wait_random_exponential,
)

from cloud.db.pool import Pool
from cloud.workers import metrics

_LOG = structlog.get_logger("segs.worker")
Step = Callable[[AsyncConnection, datetime], Awaitable[bool]]
"""Does some of the work, in transactions of its own; returns whether there is more to do at once."""

# 40001 and 40P01 are OperationalErrors too: psycopg files SQLSTATE classes 40, 53, 57 and 58 under them.
TRANSIENT = (OperationalError, InterfaceError, PoolTimeout)
_AFTER_FAILURE_S = 30.0


def lasts(error: Error) -> bool:
    """Whether work that failed so would fail again: it was refused, or takes longer than the database allows."""
    return isinstance(error, QueryCanceled) or not isinstance(error, TRANSIENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A kind of work: its name, what does it, and how long to pause when there is nothing to do.

    `share` is how much of the time it takes when there is always more to do; what is in no haste leaves the rest to
    others.
    """

    name: str
    step: Step
    pause_s: float
    share: float = 1.0


class Pulse:
    """When each loop will have moved again at the latest."""

    def __init__(self, *, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._due_s: dict[str, float] = {}

    def beat(self, name: str, *, again_in_s: float = 0) -> None:
        """`name` has moved, and means to move again in `again_in_s`."""
        self._due_s[name] = self._monotonic_s() + again_in_s

    def forget(self, name: str) -> None:
        """`name` has ended."""
        self._due_s.pop(name, None)

    def stuck(self, limit_s: float) -> list[str]:
        """Loops that are more than `limit_s` behind what they meant."""
        now_s = self._monotonic_s()
        return sorted(name for name, due_s in self._due_s.items() if now_s - due_s > limit_s)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Returns after `seconds`, or when `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


class Loop:
    """Runs `work` until `stop`; ends for no failure of the database."""

    def __init__(
        self,
        *,
        work: Work,
        pool: Pool,
        clock: Callable[[], datetime],
        pulse: Pulse,
        stop: asyncio.Event,
    ) -> None:
        self._work, self._pool, self._clock, self._pulse, self._stop = work, pool, clock, pulse, stop

    @property
    def name(self) -> str:
        return self._work.name

    async def run(self) -> None:
        while not self._stop.is_set():
            pause_s = self._work.pause_s
            started_s = time.monotonic()
            try:
                if await self.once():
                    if self._work.share < 1:
                        await self._wait((time.monotonic() - started_s) * (1 / self._work.share - 1))
                    continue
            except Error as error:
                # What one kind of work cannot do is no reason for the others to stop.
                metrics.FAILURES.labels(self._work.name).inc()
                _LOG.error("step_failed", loop=self._work.name, error=str(error).strip())
                pause_s = max(pause_s, _AFTER_FAILURE_S)
            await self._wait(pause_s)

    async def once(self) -> bool:
        """One step, repeated until the database takes it, or `stop` is set; whether there is more to do at once."""
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_when_event_set(self._stop),  # type: ignore[arg-type] # it asks for is_set() and no more
            sleep=self._wait,
            before_sleep=self._tell,
            retry_error_callback=lambda _: False,
        )
        return await attempts(self._attempt)

    async def _attempt(self) -> bool:
        self._pulse.beat(self._work.name)
        async with self._pool.connection() as connection:
            return await self._work.step(connection, self._clock())

    async def _wait(self, seconds: float) -> None:
        self._pulse.beat(self._work.name, again_in_s=seconds)
        await pause(self._stop, seconds)

    def _tell(self, attempt: RetryCallState) -> None:
        metrics.RETRIES.labels(self._work.name).inc()
        error = attempt.outcome.exception() if attempt.outcome else None
        # A deadlock or two is everyday; what lasts is worth a line, and not one for each attempt.
        if attempt.attempt_number in (3, 10) or attempt.attempt_number % 60 == 0:
            _LOG.warning(
                "database_fails", loop=self._work.name, attempts=attempt.attempt_number, error=str(error).strip()
            )
