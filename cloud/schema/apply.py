"""Brings a database to this release's schema: master onto an empty one, pending migrations onto an older one."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random

from cloud.db.errors import RETRYABLE
from cloud.db.queries import Queries
from cloud.schema import catalog
from cloud.schema.connection import connect, run
from cloud.schema.errors import Database, DriftError, ScriptError, VersionError
from cloud.schema.loader import SQL_ROOT, Master, load
from cloud.schema.scratch import expected_catalog
from cloud.schema.version import Recorded, recorded, require_readable

_VERSION = Queries("schema_version")


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
def apply(dsn: str, database: Database, *, root: Path = SQL_ROOT, again: bool = False) -> Applied:
    """Applies the schema of `database` in one transaction, one apply at a time; again after a deadlock with a service.

    A database at exactly this master is left alone and no table locked, unless `again`. An older one gets the pending
    migrations. Then the whole master runs, which states functions, views, policies, rights and comments anew. Tables
    change through migrations only: their structure has to be the master's before it runs, or all is rolled back.

    Raises SourceError, UnreachableError, ScriptError, VersionError (newer than this release, or the other master),
    DriftError, EditionError (compressed chunks on an Apache server).
    """
    master = load(database, root)
    with connect(dsn) as connection:
        connection.execute(_VERSION["lock"])
        before = recorded(connection)
        if before is not None:
            _require_known(master, before)
        require_readable(connection)
        migrations = [m for m in master.migrations if before is not None and m.version > before.version]
        for migration in migrations:
            run(connection, [migration.script])
            connection.execute(_VERSION["record_step"], {"version": migration.version, "master": database})
        at = recorded(connection)
        current = at is not None and at.checksum == master.checksum
        if before is not None and not current:
            _require_structure(connection, dsn, master)
        ran = again or not current
        if ran:
            run(connection, master.scripts)
            connection.execute(_VERSION["record_checksum"], {"version": master.version, "checksum": master.checksum})
    steps = tuple(migration.script.name for migration in migrations)
    return Applied(database, before.version if before else None, master.version, steps, master.checksum, ran)


def _require_known(master: Master, found: Recorded) -> None:
    database, known = master.database, master.version
    problem = None
    if found.master != database:
        problem = f"the database holds the {found.master} schema; are SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN swapped?"
    elif found.version > known:
        problem = (
            f"the database is at schema version {found.version}, this release knows {known}; "
            "use the release it was upgraded with, or a later one"
        )
    if problem:
        raise VersionError(f"{database}: {problem}", database=database, found=found.version, known=known)


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
