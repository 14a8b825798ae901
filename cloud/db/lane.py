"""Short statements, many of them: sent without waiting for one another, over few connections, each its own transaction.

A pool lends a connection for a transaction of several statements, and each of them costs a round trip and a good part
of a millisecond of this process. What is asked all the time is one prepared statement, and goes this way.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.errors import error_from_result
from psycopg_pool import TooManyRequests

Row = tuple[bytes | None, ...]
"""Values as the server writes them, in UTF-8."""


class Lane:
    """One connection, made when something is asked, and made anew by the next question after it was lost.

    Answers come in the order of the questions, so a statement must be short whoever asks it. `queue` bounds the
    questions under way; a connection without any answer for `timeout_s` is given up.
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        statements: Mapping[str, LiteralString],
        queue: int = 200,
        statement_timeout_s: float = 5.0,
        timeout_s: float = 10.0,
    ) -> None:
        """`statements` have $1, $2, … in them; all parameters are text that the server reads."""
        self._dsn, self._name, self._statements = dsn, name, statements
        self._queue, self._statement_timeout_s, self._timeout_s = queue, statement_timeout_s, timeout_s
        self._connection: AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        self._waiting: deque[asyncio.Future[pq.abc.PGresult]] = deque()
        self._answer: pq.abc.PGresult | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._answered = 0
        self._writing = False
        self._socket = -1

    @property
    def waiting(self) -> int:
        """Questions under way."""
        return len(self._waiting)

    async def ask(self, statement: str, parameters: Sequence[bytes | None]) -> list[Row]:
        """Its rows. Raises psycopg.Error, and psycopg_pool.TooManyRequests where the queue is full.

        The statement may have been run although the answer is lost: ask for what can be asked again.
        """
        if len(self._waiting) >= self._queue:
            raise TooManyRequests(f"{self._queue} questions are under way")
        connection = self._connection
        if connection is None:
            connection = await self._connect()
        result = await self._send(connection.pgconn, statement, parameters)
        columns = range(result.nfields)
        return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]

    async def close(self) -> None:
        """Whoever still waits is told that the connection is lost."""
        self._lose("closed")

    def _send(
        self, pgconn: pq.abc.PGconn, statement: str, parameters: Sequence[bytes | None]
    ) -> "asyncio.Future[pq.abc.PGresult]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[pq.abc.PGresult] = loop.create_future()
        try:
            pgconn.send_query_prepared(statement.encode(), parameters)
            pgconn.pipeline_sync()
            self._waiting.append(answer)
            self._flush(pgconn)
        except psycopg.OperationalError as error:
            self._lose(str(error))
            raise
        if self._deadline is None:
            self._deadline = loop.call_later(self._timeout_s, self._overdue, self._answered)
        return answer

    def _flush(self, pgconn: pq.abc.PGconn) -> None:
        """What the socket does not take at once goes when it can."""
        loop = asyncio.get_running_loop()
        more = pgconn.flush() == 1
        if more and not self._writing:
            loop.add_writer(pgconn.socket, self._writable)
        elif self._writing and not more:
            loop.remove_writer(pgconn.socket)
        self._writing = more

    def _writable(self) -> None:
        if self._connection is not None:
            try:
                self._flush(self._connection.pgconn)
            except psycopg.OperationalError as error:
                self._lose(str(error))

    def _readable(self) -> None:
        if self._connection is None:
            return
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while self._waiting and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._told()
                else:
                    self._answer = result
        except psycopg.OperationalError as error:
            self._lose(str(error))
        else:
            if pgconn.status == pq.ConnStatus.BAD:
                self._lose("the connection is lost")

    def _told(self) -> None:
        answer, result = self._waiting.popleft(), self._answer
        self._answer = None
        self._answered += 1
        # Whoever asked may have gone.
        if answer.done():
            return
        if result is None:
            answer.set_exception(psycopg.OperationalError("the server gave no answer"))
        elif result.status == pq.ExecStatus.TUPLES_OK:
            answer.set_result(result)
        else:
            answer.set_exception(error_from_result(result, encoding="utf-8"))

    def _overdue(self, answered: int) -> None:
        self._deadline = None
        if not self._waiting:
            return
        if self._answered == answered:
            self._lose(f"no answer within {self._timeout_s:g} s")
        else:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._timeout_s, self._overdue, self._answered)

    def _lose(self, why: str) -> None:
        """All who wait have lost their answers."""
        connection, self._connection = self._connection, None
        lost, self._waiting = self._waiting, deque()
        self._answer = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if connection is not None:
            loop = asyncio.get_running_loop()
            # By its number: the library may have closed it already, and the next connection will have the same.
            loop.remove_reader(self._socket)
            if self._writing:
                loop.remove_writer(self._socket)
            self._writing = False
            connection.pgconn.finish()
        for answer in lost:
            if not answer.done():
                answer.set_exception(psycopg.OperationalError(f"the connection to the database is lost: {why}"))

    async def _connect(self) -> AsyncConnection:
        async with self._connecting:
            if self._connection is not None:
                return self._connection
            connection = await AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                application_name=self._name,
                connect_timeout=5,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                # To plan anew for what a statement is asked with takes longer than to run it.
                options="-c timezone=UTC -c plan_cache_mode=force_generic_plan"
                f" -c statement_timeout={round(self._statement_timeout_s * 1000)}",
            )
            try:
                for name, statement in self._statements.items():
                    await connection.execute(f"PREPARE {name} AS {statement}".encode())
            except BaseException:
                await connection.close()
                raise
            pgconn = connection.pgconn
            pgconn.nonblocking = 1
            pgconn.enter_pipeline_mode()
            self._socket = pgconn.socket
            asyncio.get_running_loop().add_reader(self._socket, self._readable)
            self._connection = connection
            return connection


class Lanes:
    """Some lanes to one database; a question takes the one with the fewest before it."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    async def ask(self, statement: str, parameters: Sequence[bytes | None]) -> list[Row]:
        """As Lane.ask()."""
        return await min(self._lanes, key=lambda lane: lane.waiting).ask(statement, parameters)


@contextlib.asynccontextmanager
async def open_lanes(
    dsn: str, *, count: int, name: str, statements: Mapping[str, LiteralString]
) -> AsyncIterator[Lanes]:
    """Not yet connected: the database may be away."""
    lanes = [Lane(dsn, name=name, statements=statements) for _ in range(count)]
    try:
        yield Lanes(lanes)
    finally:
        for lane in lanes:
            await lane.close()
