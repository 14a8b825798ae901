"""Owner connections of the schema tool, and the running of scripts on them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg

from cloud.schema.errors import ScriptError, UnreachableError
from cloud.schema.loader import Script


@contextmanager
def connect(dsn: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection]:
    """A connection whose block is one transaction unless `autocommit`; raises UnreachableError."""
    try:
        connection = psycopg.connect(
            dsn, autocommit=autocommit, connect_timeout=10, application_name="segs-cloud schema"
        )
    except psycopg.OperationalError as error:
        raise UnreachableError(f"no connection to the database: {str(error).strip()}") from error
    with connection:
        yield connection


def run(connection: psycopg.Connection, scripts: Iterable[Script]) -> None:
    """Runs `scripts` in order in the current transaction; raises ScriptError with file and line."""
    for script in scripts:
        try:
            connection.execute(script.sql.encode())
        except psycopg.Error as error:
            raise _refusal(script, error) from error


def _refusal(script: Script, error: psycopg.Error) -> ScriptError:
    diagnosis = error.diag
    where = script.name
    if diagnosis.statement_position:
        line = script.sql.count("\n", 0, int(diagnosis.statement_position) - 1) + 1
        where = f"{where}:{line}"
    message = diagnosis.message_primary or str(error).strip()
    if diagnosis.message_detail:
        message = f"{message}: {diagnosis.message_detail}"
    return ScriptError(where, message, sqlstate=error.sqlstate, hint=diagnosis.message_hint)
