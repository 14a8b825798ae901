"""Transactions of the two databases, each in its caller's name: what the name may see, the databases know."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from cloud.api.errors import Unauthenticated
from cloud.db.queries import Queries
from cloud.identity.tokens import Access

_AUDIT = Queries("audit")
_SESSION = Queries("session")
Row = dict[str, Any]


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

    def __init__(self, cursor: AsyncCursor[DictRow], *, role: str | None = None) -> None:
        self._cursor = cursor
        self.role = role

    @property
    def connection(self) -> AsyncConnection[Any]:
        """For cloud.telemetry.reads, which asks within the same transaction."""
        return self._cursor.connection

    async def rows(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """What `query` finds, by the names of its columns."""
        return await (await self._cursor.execute(query, parameters)).fetchall()

    async def row(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> Row | None:
        """The first row, None where there is none."""
        return await (await self._cursor.execute(query, parameters)).fetchone()

    async def run(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> None:
        """Runs a statement that answers with nothing."""
        await self._cursor.execute(query, parameters)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """What happens within is undone where it raises, and the transaction goes on."""
        async with self._cursor.connection.transaction():
            yield

    async def value(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> Any:
        """The first column of the first row, which there is."""
        row = await self.row(query, parameters)
        assert row is not None
        return next(iter(row.values()))

    async def look(self, what: str, *, code: str | None = None, details: Mapping[str, object] | None = None) -> None:
        """Writes down that an operator or admin looks at `what`: of the meter `code`, or at all that `details` say.

        Until then the database shows them what is their own and nothing else. Of customers nothing is written.
        """
        if self.role != "USER":
            asked = {"code": code, **(details or {})}
            document = msgspec.json.encode({name: value for name, value in asked.items() if value is not None}).decode()
            await self.row(_AUDIT["look"], {"what": what, "code": code, "details": document})

    async def found(self, what: str, meters: Sequence[int]) -> None:
        """Writes down which meters such a look has found."""
        if self.role != "USER" and meters:
            await self.row(_AUDIT["found"], {"what": what, "meters": list(meters), "details": '{"found": true}'})


class Databases:
    """Both pools. A transaction ends before its answer is sent, so that no client hears of what did not happen."""

    def __init__(self, *, domain: AsyncConnectionPool, telemetry: AsyncConnectionPool) -> None:
        self._domain, self._telemetry = domain, telemetry

    @asynccontextmanager
    async def domain(self, caller: Caller) -> AsyncIterator[Transaction]:
        """A transaction in the caller's name. Raises Unauthenticated where their session is over."""
        async with _transaction(self._domain) as cursor:
            named = {
                "user_id": caller.access.user_id,
                "family_id": caller.access.session_id,
                "jti": caller.access.token_id,
                "request_id": caller.request_id,
                "now": caller.now,
            }
            session = await (await cursor.execute(_SESSION["enter"], named)).fetchone()
            if session is None or session["role"] is None:
                raise Unauthenticated("this session is over; log in again")
            yield Transaction(cursor, role=session["role"])

    @asynccontextmanager
    async def outside(self, request_id: str) -> AsyncIterator[Transaction]:
        """A transaction in the domain database of nobody, who may call functions and see no row."""
        async with _transaction(self._domain) as cursor:
            await cursor.execute(_SESSION["outside"], {"request_id": request_id})
            yield Transaction(cursor)

    @asynccontextmanager
    async def telemetry(self, grants: Mapping[str, object]) -> AsyncIterator[Transaction]:
        """A transaction in the telemetry database that may read what `grants` says, and nothing else."""
        async with _transaction(self._telemetry) as cursor:
            await cursor.execute(_SESSION["grants"], {"grants": msgspec.json.encode(grants).decode()})
            yield Transaction(cursor)


@asynccontextmanager
async def _transaction(pool: AsyncConnectionPool) -> AsyncIterator[AsyncCursor[DictRow]]:
    async with (
        pool.connection() as connection,
        connection.transaction(),
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        yield cursor
