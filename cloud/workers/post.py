"""Delivers messages: each channel has some loops of its own, so that who hangs at one holds up nobody at another."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog
from psycopg import AsyncConnection
from psycopg.rows import class_row
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cloud.db.pool import Pool
from cloud.db.queries import Queries
from cloud.identity.errors import SealError
from cloud.identity.keys import unseal
from cloud.notify.channel import Channel
from cloud.notify.message import Message
from cloud.notify.outcome import Outcome, Result, Undeliverable
from cloud.notify.text import fill
from cloud.workers import metrics
from cloud.workers.loop import TRANSIENT, Work

_LOG = structlog.get_logger("segs.worker.post")
_QUERIES = Queries("outbox")
_LOOPS = 4
# Beyond the attempt itself: to tell the database what became of it, however busy it is.
_MARGIN_S = 30.0
_FIRST_S, _LONGEST_S = 5.0, 1800.0
_AT_ONCE = 500
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def wait_s(attempt: int, *, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after an attempt that failed, counted from 1: twice as long each time, up to half an hour, and
    each message for another part of it, so that a server that returns is not asked by all at once."""
    return min(_FIRST_S * 2.0 ** min(attempt - 1, 20), _LONGEST_S) * (0.5 + chance() / 2)


class Round:
    """Takes a message, tries it once and tells what became of it. With `codes` it takes no other ones."""

    def __init__(self, *, channel: Channel, pool: Pool, sealing: bytes, per_hour: int, codes: bool = False) -> None:
        self._channel, self._pool, self._sealing = channel, pool, sealing
        self._wanted = {
            "channel": channel.name,
            "codes": codes,
            "per_hour": per_hour,
            "lease": timedelta(seconds=channel.timeout_s + _MARGIN_S),
        }

    async def step(self, connection: AsyncConnection, now: datetime) -> bool:
        """Whether there was one."""
        cursor = connection.cursor(row_factory=class_row(Message))
        async with connection.transaction():
            message = await (await cursor.execute(_QUERIES["claim"], {**self._wanted, "now": now})).fetchone()
        if message is None:
            return False
        outcome = await self._attempt(message, now)
        # Who is told to stop now must not forget that the message was accepted.
        telling = asyncio.create_task(self._tell(connection, message, outcome, now), name="tell")
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:
            await telling
            raise
        return True

    async def _attempt(self, message: Message, now: datetime) -> Outcome:
        secret = ""
        try:
            if message.sealed_secret is not None:
                secret = unseal(self._sealing, message.sealed_secret, f"code of user {message.user_id}").decode()
            outcome = await self._channel.deliver(message, fill(message, secret), now)
        except (Undeliverable, SealError) as error:
            outcome = Outcome(Result.DEAD, str(error))
        except _UNFORESEEN as error:
            # It would end the worker, and the next one. Its text may have what the message says.
            _LOG.error("message_not_made", outbox_id=message.outbox_id, error=type(error).__name__)
            outcome = Outcome(Result.DEAD, f"it could not be made: {type(error).__name__}; tell us")
        return Outcome(outcome.result, outcome.told(secret), outcome.after_s)

    async def _tell(self, connection: AsyncConnection, message: Message, outcome: Outcome, now: datetime) -> None:
        again_s = max(wait_s(message.attempt), outcome.after_s)
        ended = {
            "outbox_id": message.outbox_id,
            "members": list(message.members),
            "leased_until": message.leased_until,
            "outcome": outcome.result.value,
            "reply": outcome.reply,
            "due_at": now + timedelta(seconds=again_s) if outcome.result is Result.DEFERRED else None,
            "now": now,
        }
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            stop=stop_after_delay(_MARGIN_S),
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                async with self._usable(connection) as usable, usable.transaction():
                    held = await (await usable.execute(_QUERIES["end"], ended)).fetchone()
        metrics.MESSAGES.labels(self._channel.name, outcome.result.value).inc()
        if held != (True,):
            _LOG.warning("lease_was_over", outbox_id=message.outbox_id, outcome=outcome.result.value)
        if outcome.result is Result.DEAD:
            _LOG.error("message_dead", outbox_id=message.outbox_id, channel=self._channel.name, reply=outcome.reply)

    @asynccontextmanager
    async def _usable(self, connection: AsyncConnection) -> AsyncIterator[AsyncConnection]:
        """`connection`, or another one where it did not outlive the attempt."""
        if not connection.closed:
            yield connection
            return
        async with self._pool.connection() as another:
            yield another


class _Sweep:
    """Closes what is of no use any more, and measures what waits. What no channel sends is told of once."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._sent = {channel.name for channel in channels}
        self._told: set[str] = set()

    async def step(self, connection: AsyncConnection, now: datetime) -> bool:
        async with connection.transaction():
            row = await (await connection.execute(_QUERIES["expire"], {"limit": _AT_ONCE, "now": now})).fetchone()
            waiting = await (await connection.execute(_QUERIES["waiting"])).fetchall()
        assert row is not None
        metrics.MESSAGES.labels("any", "expired").inc(row[0])
        found = {channel: (count, since) for channel, count, since in waiting}
        for channel in metrics.CHANNELS:
            count, since = found.get(channel, (0, now))
            metrics.WAITING.labels(channel).set(count)
            metrics.OLDEST_SECONDS.labels(channel).set(max(0.0, (now - since).total_seconds()))
        for channel in sorted(found.keys() - self._sent - self._told):
            _LOG.warning("messages_wait", channel=channel, reason="there are no settings to send them by")
            self._told.add(channel)
        return bool(row[0] == _AT_ONCE)


def connections(channels: Sequence[Channel]) -> int:
    """How many `works` need at most: one a loop, and some for who has to ask for another."""
    return len(channels) * _LOOPS + 3


def works(
    *, channels: Sequence[Channel], pool: Pool, sealing: bytes, per_hour: int, pause_s: float = 1.0
) -> list[Work]:
    """Loops on the domain database: of each channel four, the first of which takes codes alone, so that no run of bills
    and no servers that hang keep a code waiting."""
    return [
        Work(name="messages", step=_Sweep(channels).step, pause_s=10),
        *(
            Work(
                name=f"{channel.name}_{number}",
                step=Round(channel=channel, pool=pool, sealing=sealing, per_hour=per_hour, codes=number == 0).step,
                pause_s=pause_s,
            )
            for channel in channels
            for number in range(_LOOPS)
        ),
    ]
