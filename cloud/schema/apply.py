"""Brings a database to this release's schema: master onto an empty one, pending migrations onto an older one."""

from dataclasses import dataclass
from pathlib import Path

import psycopg

from cloud.schema.connection import connect, run
from cloud.schema.errors import Database, VersionError
from cloud.schema.loader import SQL_ROOT, Master, load


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did. `before` is None where the database was empty."""

    database: Database
    before: int | None
    after: int
    migrations: tuple[str, ...]
    checksum: str


def apply(dsn: str, database: Database = "telemetry", *, root: Path = SQL_ROOT) -> Applied:
    """Applies the schema of `database` in one transaction, one apply at a time.

    Raises SourceError, UnreachableError, ScriptError, VersionError (newer than this release), DriftError.
    """
    master = load(database, root)
    with connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('segs.schema', 0))")
        before = current_version(connection)
        if before is not None and before > master.version:
            raise VersionError(
                f"{database}: the database is at schema version {before}, this release knows {master.version}; "
                "use the release it was upgraded with, or a later one",
                database=database,
                found=before,
                known=master.version,
            )
        pending = tuple(m for m in master.migrations if before is not None and m.version > before)
        for migration in pending:
            run(connection, [migration.script])
            connection.execute(
                "INSERT INTO public.schema_version (version, master) VALUES (%s, %s)", (migration.version, database)
            )
        run(connection, master.scripts)
        connection.execute(
            "UPDATE public.schema_version SET checksum = %s WHERE version = %s", (master.checksum, master.version)
        )
    return Applied(database, before, master.version, tuple(m.script.name for m in pending), master.checksum)


def current_version(connection: psycopg.Connection) -> int | None:
    """The schema version the database is at; None where it has no schema_version table."""
    if _scalar(connection, "SELECT to_regclass('public.schema_version')") is None:
        return None
    version = _scalar(connection, "SELECT max(version) FROM public.schema_version")
    return None if version is None else int(version)


def _scalar(connection: psycopg.Connection, query: str) -> int | str | None:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]
