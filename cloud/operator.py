"""Whoever works at the command line: what is changed is changed in their name."""

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, LiteralString

import psycopg
from psycopg.rows import dict_row

from cloud.errors import NotInStep, UnreachableDatabase
from cloud.registry_copy import copy_registry
from cloud.settings import Settings

Row = dict[str, Any]


def actor() -> str:
    """The operator as audit log and versions of intervals name them; the number of a user without a name."""
    try:
        return f"segs-cloud:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"segs-cloud:{os.getuid()}"


def _connect(database: Literal["domain", "telemetry"], *, autocommit: bool = False) -> psycopg.Connection:
    dsn = getattr(Settings(), database)
    try:
        connection = psycopg.connect(dsn, autocommit=autocommit, connect_timeout=10, application_name="segs-cloud")
    except psycopg.OperationalError as error:
        raise UnreachableDatabase(database, str(error)) from error
    # What is read, and what the server says in its refusals, is in the zone that the commands speak.
    connection.execute("SET TIME ZONE 'UTC'")
    if not autocommit:
        connection.commit()
    return connection


@contextmanager
def domain_transaction() -> Iterator[psycopg.Connection]:
    """A transaction in the domain database, in the operator's name. Raises UnreachableDatabase."""
    with _connect("domain") as domain:
        domain.execute("SELECT set_config('segs.actor', %s, true)", [actor()])
        yield domain


@contextmanager
def domain_database() -> Iterator[psycopg.Connection]:
    """The domain database, in no transaction yet, for who only reads. Raises UnreachableDatabase."""
    with _connect("domain", autocommit=True) as domain:
        yield domain


@contextmanager
def telemetry_database(*, autocommit: bool = False) -> Iterator[psycopg.Connection]:
    """A transaction in the telemetry database, unless `autocommit`. Raises UnreachableDatabase."""
    with _connect("telemetry", autocommit=autocommit) as telemetry:
        yield telemetry


def rows(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, object] | None = None
) -> list[Row]:
    """What `query` finds, by the names of its columns."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def bring_in_step() -> None:
    """Copies the registry to the telemetry database. Raises NotInStep where that does not answer."""
    try:
        with _connect("domain") as domain, _connect("telemetry") as telemetry:
            copy_registry(domain, telemetry)
    except (UnreachableDatabase, psycopg.OperationalError) as error:
        raise NotInStep(str(error)) from error


@contextmanager
def registration() -> Iterator[psycopg.Connection]:
    """A transaction in the domain database; after it, the telemetry database's registry is brought in step."""
    with domain_transaction() as domain:
        yield domain
    bring_in_step()
