"""Brings a database to this release's schema: master onto an empty one, pending migrations onto an older one."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random

from cloud.db.errors import RETRYABLE
from cloud.schema import catalog
from cloud.schema.connection import connect, run
from cloud.schema.errors import Database, DriftError, ScriptError, VersionError
from cloud.schema.loader import SQL_ROOT, Master, load
from cloud.schema.scratch import expected_catalog


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did. `before` is None where the database was empty; `ran` is False where nothing had to be done."""

    database: Database
    before: int | None
    after: int
    migrations: tuple[str, ...]
    checksum: str
    ran: bool


def _met_a_running_service(error: BaseException) -> bool:
    return isinstance(error, ScriptError) and error.sqlstate in RETRYABLE


@retry(
    retry=retry_if_exception(_met_a_running_service), stop=stop_after_attempt(5), wait=wait_random(0, 1), reraise=True
)
def apply(dsn: str, database: Database = "telemetry", *, root: Path = SQL_ROOT, again: bool = False) -> Applied:
    """Applies the schema of `database` in one transaction, one apply at a time; again after a deadlock with a service.

    A database at exactly this master is left alone and no table locked, unless `again`. An older one gets the pending
    migrations. Then the whole master runs, which states functions, views, policies, rights and comments anew. Tables
    change through migrations only: their structure has to be the master's before it runs, or all is rolled back.

    Raises SourceError, UnreachableError, ScriptError, VersionError (newer than this release, or the other master),
    DriftError.
    """
    master = load(database, root)
    with connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('segs.schema', 0))")
        before = current_version(connection)
        if before is not None:
            _require_known(connection, master, before)
        migrations = [m for m in master.migrations if before is not None and m.version > before]
        for migration in migrations:
            run(connection, [migration.script])
            connection.execute(
                "INSERT INTO public.schema_version (version, master) VALUES (%s, %s)", (migration.version, database)
            )
        current = before is not None and _checksum(connection, master.version) == master.checksum
        if before is not None and not current:
            _require_structure(connection, dsn, master)
        ran = again or not current
        if ran:
            run(connection, master.scripts)
            connection.execute(
                "UPDATE public.schema_version SET checksum = %s WHERE version = %s", (master.checksum, master.version)
            )
    return Applied(database, before, master.version, tuple(m.script.name for m in migrations), master.checksum, ran)


def current_version(connection: psycopg.Connection) -> int | None:
    """The schema version the database is at; None where it has no schema_version table."""
    row = connection.execute("SELECT to_regclass('public.schema_version') IS NULL").fetchone()
    if row == (True,):
        return None
    row = connection.execute("SELECT max(version) FROM public.schema_version").fetchone()
    return row[0] if row else None


def _require_known(connection: psycopg.Connection, master: Master, before: int) -> None:
    database, known = master.database, master.version
    row = connection.execute("SELECT master FROM public.schema_version WHERE version = %s", (before,)).fetchone()
    problem = None
    if row != (database,):
        held = row[0] if row else "another"
        problem = f"the database holds the {held} schema; are SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN swapped?"
    elif before > known:
        problem = (
            f"the database is at schema version {before}, this release knows {known}; "
            "use the release it was upgraded with, or a later one"
        )
    if problem:
        raise VersionError(f"{database}: {problem}", database=database, found=before, known=known)


def _checksum(connection: psycopg.Connection, version: int) -> str | None:
    row = connection.execute("SELECT checksum FROM public.schema_version WHERE version = %s", (version,)).fetchone()
    return row[0] if row else None


def _require_structure(connection: psycopg.Connection, dsn: str, master: Master) -> None:
    """The master's CREATE IF NOT EXISTS would pass over what it cannot change, and nobody would know."""
    found = catalog.structure(catalog.read(connection))
    expected = catalog.structure(expected_catalog(dsn, master))
    differences = [str(difference) for difference in catalog.compare(master.database, found, expected)]
    if differences:
        raise DriftError(
            f"{master.database}: the tables are not those of master version {master.version}; nothing was applied. If "
            f"the master was edited: write sql/migrations/{master.database}/{master.version + 1:04}-name.sql and raise "
            "its version. If the database was: put it back. The differences:",
            differences,
        )
