"""The local databases: a private PostgreSQL cluster with both master schemas applied."""

from pathlib import Path

import psycopg
from psycopg import sql

from cloud.schema.apply import apply
from local.servers import PostgresServer

NAMES = {"domain": "segs_domain", "telemetry": "segs_telemetry"}


class Databases:
    """Both databases in the cluster under `home`. `start` may be called any number of times, by several processes."""

    def __init__(self, *, home: Path) -> None:
        self.server = PostgresServer(data_dir=home / "postgres")

    def start(self) -> None:
        """Start the server, create what is missing and bring the schemas up to this release.

        Raises local.servers.ServerError, and cloud.schema.errors.SchemaError when a schema is newer than this release.
        """
        self.server.start()
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtextextended('segs.local', 0))")
            for name in NAMES.values():
                found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
                if found is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            apply(self.dsn("domain"), "domain")
            apply(self.dsn("telemetry"), "telemetry")

    def dsn(self, database: str, user: str = "segs") -> str:
        """libpq URL of `domain` or `telemetry`, for the owner or for one of the service roles."""
        return self.server.dsn(NAMES[database], user)
