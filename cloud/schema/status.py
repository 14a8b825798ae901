"""What is in a database: versions, edition, counts."""

from dataclasses import dataclass
from pathlib import Path

from cloud.db.queries import Queries
from cloud.schema.connection import connect
from cloud.schema.errors import Database
from cloud.schema.loader import SQL_ROOT, load
from cloud.schema.version import recorded

_STATUS = Queries("status")


@dataclass(frozen=True, slots=True)
class Status:
    """`version` is None where nothing was applied; `checksum_matches` tells whether this very master was, by the tool.

    `timescaledb` and `edition` (community or apache) are None without the extension.
    """

    database: Database
    version: int | None
    known: int
    checksum_matches: bool
    postgresql: str
    timescaledb: str | None
    edition: str | None
    tables: int
    hypertables: int
    views: int
    functions: int
    chunks: int
    size_bytes: int

    @property
    def current(self) -> bool:
        """Whether the database is at exactly this release's master."""
        return self.version == self.known and self.checksum_matches


def status(dsn: str, database: Database, *, root: Path = SQL_ROOT) -> Status:
    """Raises SourceError and UnreachableError."""
    master = load(database, root)
    with connect(dsn) as connection:
        at = recorded(connection)
        server = connection.execute(_STATUS["server"]).fetchone()
        timescale = connection.execute(_STATUS["timescale"]).fetchone() if server and server[1] else (None, 0, 0)
        counts = connection.execute(_STATUS["counts"]).fetchone()
    # Each of the three statements is one row, always.
    assert server is not None
    assert timescale is not None
    assert counts is not None
    edition, hypertables, chunks = timescale
    tables, views, functions, size_bytes = counts
    return Status(
        database=database,
        version=at.version if at else None,
        known=master.version,
        checksum_matches=at is not None and at.checksum == master.checksum,
        postgresql=server[0],
        timescaledb=server[1],
        edition=edition,
        tables=tables,
        hypertables=hypertables,
        views=views,
        functions=functions,
        chunks=chunks,
        size_bytes=size_bytes,
    )
