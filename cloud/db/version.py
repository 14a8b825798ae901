"""Services work on the schema version they were written for, and on no other."""

from psycopg import AsyncConnection

from cloud.schema.errors import Database, VersionError
from cloud.schema.loader import load


async def require_schema(connection: AsyncConnection, database: Database) -> int:
    """The schema version of `database`; raises VersionError, which says what to run, where it is not this release's."""
    known = load(database).version
    cursor = await connection.execute("SELECT to_regclass('public.schema_version') IS NOT NULL")
    if await cursor.fetchone() != (True,):
        raise _refusal(database, None, known, f"has no {database} schema: run segs-cloud schema apply")
    cursor = await connection.execute("SELECT master, version FROM public.schema_version ORDER BY version DESC LIMIT 1")
    row = await cursor.fetchone()
    if row is None:
        raise _refusal(database, None, known, f"has no {database} schema: run segs-cloud schema apply")
    master, found = row
    if master != database:
        raise _refusal(
            database, found, known, f"holds the {master} schema: SEGS_{database.upper()}_DSN names another database"
        )
    if found < known:
        raise _refusal(
            database,
            found,
            known,
            f"is at schema version {found}, this release needs {known}: run segs-cloud schema apply",
        )
    if found > known:
        raise _refusal(
            database,
            found,
            known,
            f"is at schema version {found}, this release knows {known}: run the release it was upgraded with",
        )
    return known


def _refusal(database: Database, found: int | None, known: int, problem: str) -> VersionError:
    return VersionError(f"the {database} database {problem}", database=database, found=found, known=known)
