"""What a database tells who listens, and whether all of it has been heard.

PostgreSQL signals every listener before the session that commits hears of its commit, and a connection tells what it
has been signalled before it is ready for the next query. So a round trip that begins after somebody heard of a commit
ends with the notification heard.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString

import psycopg
import structlog
from psycopg import AsyncConnection, pq, sql
from psycopg.errors import error_from_result

from cloud.db.alive import ALIVE
from cloud.db.patience import Patience

_LOG = structlog.get_logger("segs.db.listener")
# A pooler between us and the server may give the connection to another session, which listens to nothing.
_STILL = b"SELECT string_agg(c, ' ') FROM pg_listening_channels() AS c"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class Listener:
    """One connection that listens to `channel` while `wanted` is set, from the first time on.

    `heard` is called with each payload, and with an empty one where something may have been missed: when the connection
    is lost, and when there is a new one. A round trip is made each `pause_s`, and after each fence.
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        channel: LiteralString,
        heard: Callable[[str], None],
        wanted: asyncio.Event,
        pause_s: float = 0.1,
        good_s: float = 1.0,
        timeout_s: float = 5.0,
    ) -> None:
        self._dsn, self._name, self._channel, self._heard, self._wanted = dsn, name, channel, heard, wanted
        self._pause_s, self._good_s, self._timeout_s = pause_s, good_s, timeout_s
        self._connection: AsyncConnection | None = None
        self._socket = -1
        self._answer: asyncio.Future[None] | None = None
        self._told: bytes | None = None
        # Round trips by their number: the last that was sent, the last that is complete, the first that counts.
        self._sent, self._complete, self._needed = 0, 0, 1
        self._good_until_s = 0.0
        self._fenced = asyncio.Event()

    def holds(self, now_s: float) -> bool:
        """Whether all is heard that was committed before the last fence, and all that was a second before `now_s`, by
        the monotonic clock."""
        return self._complete >= self._needed and now_s < self._good_until_s

    def fence(self) -> None:
        """Something may have been committed. It holds again when a round trip that begins after this is complete."""
        self._needed = self._sent + 1
        self._fenced.set()

    async def run(self) -> None:
        """Until it is cancelled; a connection that is lost is made anew."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._wanted.wait()
            before = self._complete
            try:
                await self._listen()
            except (psycopg.Error, TimeoutError) as error:
                if self._complete > before:
                    pause_s = _FIRST_PAUSE_S
                _LOG.warning("not_listening", channel=self._channel, error=str(error).strip())
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _listen(self) -> None:
        """Raises psycopg.Error or TimeoutError once the connection is of no use."""
        connection = await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            application_name=self._name,
            connect_timeout=5,
            **ALIVE,
        )
        try:
            with Patience(connection, self._timeout_s):
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            self._begin(connection)
            while True:
                await self._wanted.wait()
                self._fenced.clear()
                await self._round_trip(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s):
                        await self._fenced.wait()
        finally:
            self._end()
            await connection.close()

    def _begin(self, connection: AsyncConnection) -> None:
        # What was known before this connection listened may have changed in silence.
        self._heard("")
        connection.pgconn.nonblocking = 1
        self._connection, self._socket = connection, connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def _end(self) -> None:
        if self._connection is not None:
            # By its number, which the library forgets when it closes it.
            asyncio.get_running_loop().remove_reader(self._socket)
            self._connection = None
        self._needed, self._good_until_s = self._sent + 1, 0.0
        self._heard("")

    async def _round_trip(self, connection: AsyncConnection) -> None:
        if self._connection is None:
            raise psycopg.OperationalError("the connection was lost while nobody asked")
        loop = asyncio.get_running_loop()
        began_s = time.monotonic()
        self._sent += 1
        self._answer, self._told = loop.create_future(), None
        connection.pgconn.send_query(_STILL)
        connection.pgconn.flush()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._answer
        finally:
            self._answer = None
        if self._told != self._channel.encode():
            raise psycopg.OperationalError("the session does not listen; is there a pooler before the database?")
        self._complete = self._sent
        self._good_until_s = began_s + self._good_s

    def _readable(self) -> None:
        if self._connection is None:
            return
        pgconn = self._connection.pgconn
        ready = False
        try:
            pgconn.consume_input()
            while not pgconn.is_busy() and self._answer is not None and not ready:
                result = pgconn.get_result()
                if result is None:
                    ready = True
                elif result.status == pq.ExecStatus.TUPLES_OK:
                    self._told = result.get_value(0, 0)
                else:
                    self._lose(error_from_result(result, encoding="utf-8"))
                    return
            # All that came before the end of the answer is read by now, and counts before it does.
            while (notification := pgconn.notifies()) is not None:
                self._heard(notification.extra.decode(errors="replace"))
        except psycopg.OperationalError as error:
            self._lose(error)
        else:
            if pgconn.status == pq.ConnStatus.BAD:
                self._lose(psycopg.OperationalError("the connection is lost"))
            elif ready and self._answer is not None and not self._answer.done():
                self._answer.set_result(None)

    def _lose(self, error: psycopg.Error) -> None:
        answer = self._answer
        self._end()
        if answer is not None and not answer.done():
            answer.set_exception(error)
