"""Which schema a database says it is at. Services work on the version they were written for, and on no other."""

from dataclasses import dataclass

from psycopg import AsyncConnection, Connection
from psycopg.errors import ObjectNotInPrerequisiteState

from cloud.db.queries import Queries
from cloud.schema.errors import Database, EditionError, VersionError
from cloud.schema.loader import load

_QUERIES = Queries("schema_version")


@dataclass(frozen=True, slots=True)
class Recorded:
    """The newest row of schema_version. `checksum` is None where only psql ran that master."""

    master: str
    version: int
    checksum: str | None


def recorded(connection: Connection) -> Recorded | None:
    """What the database says it is at; None where no master was applied."""
    if connection.execute(_QUERIES["present"]).fetchone() != (True,):
        return None
    row = connection.execute(_QUERIES["newest"]).fetchone()
    return Recorded(*row) if row else None


def require_readable(connection: Connection) -> None:
    """Raises EditionError where chunks are compressed and the server has the Apache edition."""
    if connection.execute(_QUERIES["guards_chunks"]).fetchone() == (True,):
        try:
            connection.execute(_QUERIES["require_readable_chunks"])
        except ObjectNotInPrerequisiteState as error:
            raise _unreadable(error) from error


async def require_schema(connection: AsyncConnection, database: Database) -> int:
    """The schema version of `database`.

    Raises VersionError, which says what to run, where it is not this release's; EditionError where the server cannot
    read all of it.
    """
    known = load(database).version
    row = None
    if await (await connection.execute(_QUERIES["present"])).fetchone() == (True,):
        row = await (await connection.execute(_QUERIES["newest"])).fetchone()
    if row is None:
        raise _refusal(database, None, known, f"has no {database} schema: run segs-cloud schema apply")
    found = Recorded(*row)
    if found.master != database:
        problem = f"holds the {found.master} schema: SEGS_{database.upper()}_DSN names another database"
    elif found.version < known:
        problem = f"is at schema version {found.version}, this release needs {known}: run segs-cloud schema apply"
    elif found.version > known:
        problem = (
            f"is at schema version {found.version}, this release knows {known}: run the release it was upgraded with"
        )
    else:
        if await (await connection.execute(_QUERIES["guards_chunks"])).fetchone() == (True,):
            try:
                await connection.execute(_QUERIES["require_readable_chunks"])
            except ObjectNotInPrerequisiteState as error:
                raise _unreadable(error) from error
        return known
    raise _refusal(database, found.version, known, problem)


def _refusal(database: Database, found: int | None, known: int, problem: str) -> VersionError:
    return VersionError(f"the {database} database {problem}", database=database, found=found, known=known)


def _unreadable(error: ObjectNotInPrerequisiteState) -> EditionError:
    return EditionError(f"{error.diag.message_primary}. {error.diag.message_hint}")
