"""A database that lives only as long as it takes to see what the master makes."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cloud.schema import catalog
from cloud.schema.connection import connect, run
from cloud.schema.errors import SchemaError
from cloud.schema.loader import Master


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
    name = f"segs_scratch_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    with connect(dsn, autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
        except psycopg.errors.InsufficientPrivilege as error:
            raise SchemaError(
                "checking needs a scratch database: give the role of the DSN CREATEDB, or use the owner's DSN"
            ) from error
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        with connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
