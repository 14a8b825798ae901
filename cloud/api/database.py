"""Transactions of the two databases, each in its caller's name: what the name may see, the databases know."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from cloud.api.http import metrics
from cloud.api.http.errors import SecondFactorMissing, Unauthenticated
from cloud.db.patience import Patience
from cloud.db.queries import Queries
from cloud.identity.tokens import Access

_AUDIT = Queries("audit")
_SESSION = Queries("session")
STATEMENT_S = 10.0
"""What a statement may take, by the server's clock."""
_ANSWER_S = STATEMENT_S + 2
Row = dict[str, Any]
_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by an access token that is in order. `request_id` is in every log line and audit row of the request."""

    access: Access
    request_id: str
    now: datetime

    @property
    def family_id(self) -> UUID:
        """The session."""
        return self.access.session_id


class Transaction:
    """One transaction. `role` is the caller's, as the database has it now."""

    def __init__(self, cursor: AsyncCursor[DictRow], patience: Patience, *, role: str | None = None) -> None:
        self._cursor, self._patience = cursor, patience
        self.role = role
        self._looks: set[tuple[object, ...]] = set()

    async def ask(
        self,
        question: Callable[Concatenate[AsyncConnection[Any], _Given], Awaitable[_Found]],
        *given: _Given.args,
        **named: _Given.kwargs,
    ) -> _Found:
        """What a question of cloud.telemetry.reads finds, asked within the same transaction."""
        with self._patience:
            return await question(self._cursor.connection, *given, **named)

    async def rows(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """What `query` finds, by the names of its columns."""
        with self._patience:
            return await (await self._cursor.execute(query, parameters)).fetchall()

    async def row(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> Row | None:
        """The first row, None where there is none."""
        with self._patience:
            return await (await self._cursor.execute(query, parameters)).fetchone()

    async def run(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> None:
        """Runs a statement that answers with nothing."""
        with self._patience:
            await self._cursor.execute(query, parameters)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """What happens within is undone where it raises, and the transaction goes on."""
        async with _block(self._cursor.connection, self._patience):
            yield

    async def value(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> Any:
        """The first column of the first row, which there is."""
        row = await self.row(query, parameters)
        assert row is not None
        return next(iter(row.values()))

    async def look(
        self,
        what: str,
        *,
        code: str | None = None,
        details: Mapping[str, object] | None = None,
        span: tuple[datetime, datetime] | None = None,
    ) -> None:
        """Writes down that an operator or admin looks at `what`: of the meter `code`, or at all that `details` say. The
        log names whose the meter was in `span`; without one, whose it is. The same look twice is one.

        Until then the database shows them what is their own and nothing else. Of customers nothing is written.
        """
        if self.role != "USER":
            asked = {"code": code, **(details or {})}
            document = msgspec.json.encode({name: value for name, value in asked.items() if value is not None}).decode()
            if (what, code, document, span) in self._looks:
                return
            self._looks.add((what, code, document, span))
            since, until = span or (None, None)
            said = {"what": what, "code": code, "details": document, "from": since, "to": until}
            await self.row(_AUDIT["look"], said)

    async def found(self, what: str, meters: Sequence[int]) -> None:
        """Writes down which meters such a look has found."""
        if self.role != "USER" and meters:
            await self.row(_AUDIT["found"], {"what": what, "meters": list(meters), "details": '{"found": true}'})


class Databases:
    """Both pools. A transaction ends before its answer is sent, so that no client hears of what did not happen."""

    def __init__(self, *, domain: AsyncConnectionPool, telemetry: AsyncConnectionPool) -> None:
        self._domain, self._telemetry = domain, telemetry

    @asynccontextmanager
    async def domain(self, caller: Caller, *, limited: bool = False) -> AsyncIterator[Transaction]:
        """A transaction in the caller's name. Raises Unauthenticated where their session is over. Raises
        SecondFactorMissing where their role asks for a second factor that they have not set up, unless `limited`."""
        async with _transaction("domain", self._domain) as transaction:
            named = {
                "user_id": caller.access.user_id,
                "family_id": caller.access.session_id,
                "jti": caller.access.token_id,
                "request_id": caller.request_id,
                "now": caller.now,
                "limited": limited,
            }
            session = await transaction.row(_SESSION["enter"], named)
            if session is not None and session["second_factor_missing"] and not limited:
                raise SecondFactorMissing("your role asks for a second factor; set it up by auth/totp/enrol")
            if session is None or session["role"] is None:
                raise Unauthenticated("this session is over; log in again")
            transaction.role = session["role"]
            yield transaction

    @asynccontextmanager
    async def outside(self, request_id: str) -> AsyncIterator[Transaction]:
        """A transaction in the domain database of nobody, who may call functions and see no row."""
        async with _transaction("domain", self._domain) as transaction:
            await transaction.row(_SESSION["outside"], {"request_id": request_id})
            yield transaction

    @asynccontextmanager
    async def telemetry(self, grants: Mapping[str, object]) -> AsyncIterator[Transaction]:
        """A transaction in the telemetry database that may read what `grants` says, and nothing else."""
        async with _transaction("telemetry", self._telemetry) as transaction:
            await transaction.row(_SESSION["grants"], {"grants": msgspec.json.encode(grants).decode()})
            yield transaction


@asynccontextmanager
async def _transaction(database: str, pool: AsyncConnectionPool) -> AsyncIterator[Transaction]:
    with metrics.failures(database):
        async with _connection(database, pool) as connection:
            patience = Patience(connection, _ANSWER_S)
            async with _block(connection, patience), connection.cursor(row_factory=dict_row) as cursor:
                yield Transaction(cursor, patience)


@asynccontextmanager
async def _block(connection: AsyncConnection[Any], patience: Patience) -> AsyncIterator[None]:
    """A transaction, or within one a savepoint: its begin and its end are waited for as a statement is."""
    with patience:
        async with connection.transaction():
            # Between statements the time is the caller's.
            patience.rest()
            try:
                yield
            finally:
                patience.hurry()


@asynccontextmanager
async def _connection(database: str, pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    began = time.perf_counter()
    async with pool.connection() as connection:
        metrics.POOL_WAIT.labels(database).observe(time.perf_counter() - began)
        yield connection
