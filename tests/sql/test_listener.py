"""Who listens to a database knows when all has been heard."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import psycopg
import pytest

from cloud.db.listener import Listener


@dataclass
class Listening:
    dsn: str
    heard: list[str] = field(default_factory=list)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.listener = Listener(
            self.dsn, name="listener", channel="changes", heard=self.heard.append, wanted=self.wanted, timeout_s=2
        )

    @property
    def holds(self) -> bool:
        return self.listener.holds(time.monotonic())

    async def until(self, condition: Callable[[], bool], within_s: float = 10) -> float:
        """How long that took, seconds."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < within_s
            await asyncio.sleep(0.001)
        return time.monotonic() - began


@pytest.fixture
async def listening(empty_db: str) -> AsyncIterator[Listening]:
    found = Listening(empty_db)
    found.wanted.set()
    task = asyncio.create_task(found.listener.run())
    await found.until(lambda: found.holds)
    yield found
    task.cancel()
    await asyncio.wait([task])
    assert not found.holds


@pytest.fixture
async def other(empty_db: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(empty_db, autocommit=True) as connection:
        yield connection


async def _backend(other: psycopg.AsyncConnection) -> int:
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'listener'"
    row = await (await other.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


async def test_after_a_fence_it_holds_when_all_before_it_is_heard(
    listening: Listening, other: psycopg.AsyncConnection
) -> None:
    """D11."""
    for n in range(500):
        await other.execute(f"NOTIFY changes, '{n}'".encode())
        listening.listener.fence()
        assert not listening.holds
        await listening.until(lambda: listening.holds)
        assert listening.heard[-1] == str(n)


async def test_a_round_trip_that_was_under_way_before_the_fence_does_not_count(
    listening: Listening, other: psycopg.AsyncConnection
) -> None:
    pid = await _backend(other)
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(0.3)
        before = listening.listener._sent
        listening.listener.fence()
    finally:
        os.kill(pid, signal.SIGCONT)
    await listening.until(lambda: listening.holds)
    assert listening.listener._complete > before


async def test_what_is_told_is_heard_without_being_asked_for(
    listening: Listening, other: psycopg.AsyncConnection
) -> None:
    listening.wanted.clear()
    await asyncio.sleep(0.3)
    await other.execute("NOTIFY changes, 'quiet'")
    await listening.until(lambda: listening.heard[-1] == "quiet", within_s=1)
    query = "SELECT query_start FROM pg_stat_activity WHERE application_name = 'listener'"
    first = await (await other.execute(query)).fetchone()
    await asyncio.sleep(0.5)
    assert await (await other.execute(query)).fetchone() == first, "nobody wants it, and it asks"
    await listening.until(lambda: not listening.holds, within_s=1)
    listening.wanted.set()
    await listening.until(lambda: listening.holds, within_s=1)


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_lost_connection_forgets_all_at_once_and_is_made_anew(
    listening: Listening, other: psycopg.AsyncConnection, wanted: bool
) -> None:
    if not wanted:
        listening.wanted.clear()
    listening.heard.clear()
    await other.execute("SELECT pg_terminate_backend(%s)", [await _backend(other)])
    await listening.until(lambda: listening.heard != [], within_s=1)
    assert set(listening.heard) == {""}
    assert not listening.holds
    listening.wanted.set()
    await listening.until(lambda: listening.holds)
    await other.execute("NOTIFY changes, 'again'")
    await listening.until(lambda: listening.heard[-1] == "again", within_s=1)


async def test_a_connection_that_hangs_holds_for_a_second_and_is_given_up(
    listening: Listening, other: psycopg.AsyncConnection
) -> None:
    pid = await _backend(other)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert await listening.until(lambda: not listening.holds) <= 1.01
        await listening.until(lambda: listening.holds)
        assert listening.heard[-1] == ""
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_session_that_listens_no_more_counts_as_lost(listening: Listening) -> None:
    """As behind a pooler, which gives a session to whoever comes."""
    listening.wanted.clear()
    await asyncio.sleep(0.3)
    listening.heard.clear()
    connection = listening.listener._connection
    assert connection is not None
    connection.pgconn.send_query(b"UNLISTEN *")
    connection.pgconn.flush()
    await asyncio.sleep(0.3)
    while connection.pgconn.get_result() is not None:
        pass
    listening.wanted.set()
    await listening.until(lambda: listening.heard != [])
    await listening.until(lambda: listening.holds)
