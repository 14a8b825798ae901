"""Compares a live database with what the master makes of an empty one."""

from dataclasses import dataclass
from pathlib import Path

from cloud.schema import catalog
from cloud.schema.connection import connect
from cloud.schema.errors import Database
from cloud.schema.loader import SQL_ROOT, load
from cloud.schema.scratch import expected_catalog
from cloud.schema.version import recorded, require_readable


@dataclass(frozen=True, slots=True)
class Checked:
    """`differences` is empty where the database is exactly what the master makes, version `known`."""

    database: Database
    version: int | None
    known: int
    fingerprint: str
    differences: tuple[catalog.Difference, ...]


def check(dsn: str, database: Database, *, root: Path = SQL_ROOT) -> Checked:
    """Names every difference between the live catalog and the master's, made on the same server and dropped again.

    Raises SourceError, UnreachableError, ScriptError, EditionError (compressed chunks on an Apache server), and
    SchemaError where no scratch database may be created.
    """
    master = load(database, root)
    expected = expected_catalog(dsn, master)
    with connect(dsn) as connection:
        require_readable(connection)
        at = recorded(connection)
        found = catalog.read(connection)
    differences = tuple(catalog.compare(database, found, expected))
    return Checked(database, at.version if at else None, master.version, catalog.fingerprint(found), differences)
