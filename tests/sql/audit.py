"""A domain database whose audit log a test may tamper with, as a superuser who stops at nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import psycopg

from cloud.audit.chain import Head
from cloud.audit.verify import Fault, Verdict, verify

RENAME = "UPDATE users SET name = %s WHERE email = %s || '@example.org'"


class Log:
    """One user, `ada`, whose rows are 1 and 2. Registrations wait for each other anyway; changes of users do not."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.connection = psycopg.connect(dsn, autocommit=True)
        self._turn = count(1)
        self.user("ada")

    def do(self, statement: str, *parameters: object) -> None:
        self.connection.execute(statement, parameters)

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        return self.connection.execute(query, parameters).fetchall()

    def user(self, name: str) -> None:
        self.do("INSERT INTO users (email, name) VALUES (%s || '@example.org', 'A')", name)

    def change(self, times: int = 1, *, connection: psycopg.Connection | None = None) -> list[int]:
        """One transaction with so many changes, which are all different; the numbers of their rows."""
        connection = connection or self.connection
        with connection.transaction():
            for _ in range(times):
                connection.execute(RENAME, [f"Ada {next(self._turn)}", "ada"])
            found = connection.execute(
                "SELECT audit_id FROM audit_logs WHERE transaction_id = pg_current_xact_id() ORDER BY audit_id"
            ).fetchall()
        return [row[0] for row in found]

    @contextmanager
    def tampering(self) -> Iterator[psycopg.Connection]:
        """A superuser's session in which no trigger fires."""
        with psycopg.connect(self.dsn, autocommit=True) as superuser:
            superuser.execute("SET session_replication_role = replica")
            yield superuser

    def tamper(self, statement: str, *parameters: object) -> None:
        with self.tampering() as superuser:
            superuser.execute(statement, parameters)

    def verify(self, known: Sequence[Head] = ()) -> Verdict:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return verify(connection, known=known)

    def fault(self, known: Sequence[Head] = ()) -> tuple[str, int | None]:
        """Kind and row of the first fault, which there is."""
        found = self.verify(known).fault
        assert isinstance(found, Fault)
        assert found.audit_id is None or str(found.audit_id) in found.message
        return found.kind, found.audit_id
