"""Short statements, many of them: sent without waiting for one another, over few connections, each its own transaction.

A pool lends a connection for a transaction of several statements, and each of them costs a round trip and a good part
of a millisecond of this process. What is asked all the time is one prepared statement, and goes this way.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.errors import error_from_result
from psycopg_pool import TooManyRequests

from cloud.db.alive import ALIVE
from cloud.db.patience import Patience

# What was prepared is no longer what the database has: a plan of other columns, or nothing of that name.
_STALE = frozenset({"0A000", "26000"})
_ENDING = frozenset({b"FATAL", b"PANIC"})
Row = tuple[bytes | None, ...]
"""Values as the server writes them, in UTF-8."""


class Away(psycopg.OperationalError):
    """There is no connection."""


class Lane:
    """One connection, made when something is asked, and made anew by the next question after it was lost.

    Answers come in the order of the questions, so a statement must be short whoever asks it. `queue` bounds the
    questions under way, those that wait for the connection among them, which they do for `wait_s`. A connection that
    owes an answer and gives none for `timeout_s` is given up, and one older than `lifetime_s` once it owes none.
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        statements: Mapping[str, LiteralString],
        queue: int = 200,
        statement_timeout_s: float = 5.0,
        timeout_s: float = 7.0,
        wait_s: float = 4.0,
        lifetime_s: float = 3600.0,
    ) -> None:
        """`statements` have $1, $2, … in them; all parameters are text that the server reads."""
        self._dsn, self._name, self._statements = dsn, name, statements
        self._queue, self._statement_timeout_s, self._timeout_s = queue, statement_timeout_s, timeout_s
        self._wait_s, self._lifetime_s = wait_s, lifetime_s
        self._connection: AsyncConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._arriving, self._socket = 0, -1
        self._born_s = self._heard_s = 0.0
        self._waiting: deque[asyncio.Future[pq.abc.PGresult]] = deque()
        self._answer: pq.abc.PGresult | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._writing = self._closed = False

    @property
    def waiting(self) -> int:
        """Questions under way."""
        return len(self._waiting) + self._arriving

    @property
    def old(self) -> bool:
        """Whether it is to have another connection, and still owes answers on this one."""
        return bool(self._waiting) and self._is_old()

    async def ask(self, statement: str, parameters: Sequence[bytes | None]) -> list[Row]:
        """Its rows. Raises psycopg.Error, Away among them, and psycopg_pool.TooManyRequests where the queue is full.

        The statement may have been run although the answer is lost: ask for what can be asked again.
        """
        if self.waiting >= self._queue:
            raise TooManyRequests(f"{self._queue} questions are under way")
        if self._connection is not None and not self._waiting and self._is_old():
            self._lose("it is old")
        if self._connection is None:
            await self._connected()
        connection = self._connection
        if connection is None:
            raise Away("the connection to the database was lost at once")
        result = await self._send(connection.pgconn, statement, parameters)
        columns = range(result.nfields)
        return [tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)]

    async def close(self) -> None:
        """Whoever still waits is told that the connection is lost, and whoever asks from now on that there is none."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._lose("closed")

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() - self._born_s >= self._lifetime_s

    def _send(
        self, pgconn: pq.abc.PGconn, statement: str, parameters: Sequence[bytes | None]
    ) -> "asyncio.Future[pq.abc.PGresult]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[pq.abc.PGresult] = loop.create_future()
        if not self._waiting:
            self._heard_s = loop.time()
        self._waiting.append(answer)
        if self._deadline is None:
            self._deadline = loop.call_later(self._timeout_s, self._overdue)
        try:
            pgconn.send_query_prepared(statement.encode(), parameters)
            pgconn.pipeline_sync()
            self._flush(pgconn)
        except psycopg.OperationalError as error:
            self._lose(str(error))
        return answer

    def _flush(self, pgconn: pq.abc.PGconn) -> None:
        """What the socket does not take at once goes when it can."""
        loop = asyncio.get_running_loop()
        more = pgconn.flush() == 1
        if more and not self._writing:
            loop.add_writer(self._socket, self._writable)
        elif self._writing and not more:
            loop.remove_writer(self._socket)
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
                elif result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) in _ENDING:
                    # The server says that it goes; the end of its process may be a while.
                    self._lose(result.get_error_message())
                    return
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
        self._heard_s = asyncio.get_running_loop().time()
        error: psycopg.Error | None = None
        if result is None:
            error = psycopg.OperationalError("the server gave no answer")
        elif result.status != pq.ExecStatus.TUPLES_OK:
            error = error_from_result(result, encoding="utf-8")
        # Whoever asked may have gone.
        if not answer.done():
            if error is not None:
                answer.set_exception(error)
            elif result is not None:
                answer.set_result(result)
        if error is not None and error.sqlstate in _STALE:
            self._lose("its statements are to be prepared anew")

    def _overdue(self) -> None:
        self._deadline = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        left_s = self._heard_s + self._timeout_s - loop.time()
        if left_s > 0:
            self._deadline = loop.call_later(left_s, self._overdue)
        else:
            self._lose(f"no answer within {self._timeout_s:g} s")

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
            # By its number, which the library forgets when it closes it: the next connection may get the same.
            loop.remove_reader(self._socket)
            if self._writing:
                loop.remove_writer(self._socket)
            self._writing = False
            connection.pgconn.finish()
        for answer in lost:
            if not answer.done():
                answer.set_exception(psycopg.OperationalError(f"the connection to the database is lost: {why}"))

    async def _connected(self) -> None:
        """One attempt for all who wait, whoever of them leaves. Raises Away, and psycopg.Error of a statement."""
        if self._closed:
            raise Away("closed")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name=f"lane {self._name}")
            self._connecting.add_done_callback(self._attempted)
        self._arriving += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await asyncio.shield(self._connecting)
        except TimeoutError:
            raise Away(f"no connection to the database within {self._wait_s:g} s") from None
        except psycopg.OperationalError as error:
            raise Away(str(error)) from error
        finally:
            self._arriving -= 1

    def _attempted(self, attempt: asyncio.Task[None]) -> None:
        self._connecting = None
        if not attempt.cancelled():
            # Looked at, as all who waited for it may have gone.
            attempt.exception()

    async def _connect(self) -> None:
        connection = await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            application_name=self._name,
            connect_timeout=5,
            **ALIVE,
            # To plan anew for what a statement is asked with takes longer than to run it.
            options="-c timezone=UTC -c plan_cache_mode=force_generic_plan"
            f" -c statement_timeout={round(self._statement_timeout_s * 1000)}",
        )
        try:
            with Patience(connection, self._wait_s):
                for name, statement in self._statements.items():
                    await connection.execute(f"PREPARE {name} AS {statement}".encode())
        except BaseException:
            await connection.close()
            raise
        pgconn = connection.pgconn
        pgconn.nonblocking = 1
        pgconn.enter_pipeline_mode()
        loop = asyncio.get_running_loop()
        self._socket = pgconn.socket
        loop.add_reader(self._socket, self._readable)
        self._connection, self._born_s = connection, loop.time()
