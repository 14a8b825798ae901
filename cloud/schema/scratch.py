"""A database that lives only as long as it takes to see what the master makes."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cloud.db.queries import Queries
from cloud.schema import catalog
from cloud.schema.connection import connect, run
from cloud.schema.errors import SchemaError
from cloud.schema.loader import Master

_SCRATCH = Queries("scratch")


def expected_catalog(dsn: str, master: Master) -> catalog.Catalog:
    """The catalog that `master` gives on the server of `dsn`."""
    with mastered(dsn, master) as connection:
        return catalog.read(connection)


@contextmanager
def mastered(dsn: str, master: Master) -> Iterator[psycopg.Connection]:
    """A connection to a scratch database with `master` in it, on the server of `dsn`; dropped afterwards.

    Raises UnreachableError, ScriptError, and SchemaError where the role of `dsn` may create no database.
    """
    with _database(dsn) as scratch, connect(scratch) as connection:
        run(connection, master.scripts)
        yield connection


@contextmanager
def _database(dsn: str) -> Iterator[str]:
    with connect(dsn, autocommit=True) as connection:
        # A check that was killed could not drop its own; an hour is longer than any takes.
        for (left_over,) in connection.execute(_SCRATCH["left_over"]).fetchall():
            _drop(connection, left_over)
        row = connection.execute(_SCRATCH["name"]).fetchone()
        assert row is not None
        name: str = row[0]
        try:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise SchemaError(
                "checking needs a scratch database: give the role of the DSN CREATEDB, or use the owner's DSN"
            ) from error
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        with connect(dsn, autocommit=True) as connection:
            _drop(connection, name)


def _drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
