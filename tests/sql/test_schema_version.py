"""Services look at the schema version before they do anything, and the pool that they look through."""

from typing import LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection

from cloud.db.errors import ForbiddenError, domain_error
from cloud.db.pool import make_pool
from cloud.schema.errors import VersionError
from cloud.schema.version import require_schema


async def test_a_service_starts_on_the_version_it_knows(telemetry_db: str) -> None:
    async with await AsyncConnection.connect(telemetry_db) as connection:
        await connection.execute("SET ROLE segs_ingest")
        assert await require_schema(connection, "telemetry") == 10


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "INSERT INTO schema_version (version, master) VALUES (22, 'domain')",
            "version 22, this release knows 21: run the release",
        ),
        (
            "ALTER TABLE schema_version DROP CONSTRAINT schema_version_version_check;"
            " UPDATE schema_version SET version = 0",
            "version 0, this release needs 21: run segs-cloud schema apply",
        ),
        ("DROP TABLE schema_version", "has no domain schema: run segs-cloud schema apply"),
        ("DELETE FROM schema_version", "has no domain schema: run segs-cloud schema apply"),
        ("UPDATE schema_version SET master = 'telemetry'", "holds the telemetry schema: SEGS_DOMAIN_DSN names another"),
    ],
)
async def test_a_service_refuses_another_version_and_says_what_to_run(
    domain_db: str, statement: LiteralString, says: str
) -> None:
    async with await AsyncConnection.connect(domain_db) as connection:
        await connection.execute(statement)
        with pytest.raises(VersionError, match=says):
            await require_schema(connection, "domain")


async def test_a_pool_bounds_every_statement_and_names_its_connections(domain_db: str) -> None:
    async with (
        make_pool(domain_db, name="segs-test", size=2, statement_timeout_s=0.05) as pool,
        pool.connection() as connection,
    ):
        row = await (await connection.execute("SELECT current_setting('application_name')")).fetchone()
        assert row == ("segs-test",)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await connection.execute("SELECT pg_sleep(5)")


async def test_a_pool_replaces_a_connection_that_the_server_ended(domain_db: str) -> None:
    """C13: a database that was away must not leave a service with a dead connection."""
    async with make_pool(domain_db, name="segs-test", size=1) as pool:
        async with pool.connection() as connection:
            pid = connection.info.backend_pid
        with psycopg.connect(domain_db) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        async with pool.connection() as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


def test_a_fault_of_the_server_is_no_domain_error(domain_db: str) -> None:
    with psycopg.connect(domain_db) as connection:
        with pytest.raises(psycopg.Error) as fault:
            connection.execute("SELECT 1 / 0")
        assert domain_error(fault.value) is None
        connection.rollback()
        connection.execute("SET ROLE segs_readonly")
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("DELETE FROM meters")
        assert isinstance(domain_error(refused.value), ForbiddenError)
