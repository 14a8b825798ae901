"""`segs-cloud serve`: one receiver process. Stateless; run as many as there are cores or hosts."""

import asyncio
from datetime import UTC, datetime

import structlog
import uvicorn
from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from cloud.app import build
from cloud.connections import Connections, room
from cloud.db.patience import Patience
from cloud.db.pool import make_pool
from cloud.ingest.acceptance import ACCEPTANCE
from cloud.ingest.admission import Admission
from cloud.ingest.receiver import Limits, Receiver
from cloud.schema.errors import SchemaError
from cloud.schema.version import require_schema
from cloud.service import BACKLOG, Server, listen, settle, watch
from cloud.systemd import Notifier

_LOG = structlog.get_logger("segs.serve")
_DATABASE_CONNECTIONS = 8
_HTTP_CONNECTIONS = 2000


async def serve(*, dsn: str, host: str, port: int) -> None:
    """Listen until SIGTERM or SIGINT, then finish what is under way.

    The database may be away, at the start and later: batches get 503 then. Raises the schema's VersionError when the
    database has a schema that this release does not know, its EditionError when the server cannot read all of the
    database, OSError when the port is taken.
    """
    listener = listen(host, port)
    async with make_pool(dsn, name="segs-receiver", size=_DATABASE_CONNECTIONS, statement_timeout_s=60) as pool:
        receiver = Receiver(
            pool=pool,
            admission=Admission(in_flight=4 * _DATABASE_CONNECTIONS, per_gateway=4),
            clock=lambda: datetime.now(UTC),
            limits=Limits(),
            acceptance=ACCEPTANCE,
        )

        async def ready() -> str | None:
            return await _obstacle(pool)

        app = build(receiver=receiver, ready=ready)
        connections = Connections(limit=room(_HTTP_CONNECTIONS, BACKLOG))
        config = uvicorn.Config(
            app,
            http=connections.protocol,
            backlog=BACKLOG,
            timeout_keep_alive=round(connections.idle_timeout_s),
            log_config=None,
            access_log=False,
            # Nothing here depends on where a batch comes from.
            proxy_headers=False,
            timeout_graceful_shutdown=10,
            lifespan="off",
        )
        server = Server(config)
        settle()
        notifier = Notifier()
        async with asyncio.TaskGroup() as group:
            check = group.create_task(_refuse_unknown_schema(pool, server), name="schema")
            watchdog = group.create_task(watch(listener, notifier), name="watchdog")
            _LOG.info("listening", host=host, port=listener.getsockname()[1])
            await server.serve(sockets=[listener])
            notifier.stopping()
            check.cancel()
            watchdog.cancel()


async def _refuse_unknown_schema(pool: AsyncConnectionPool, server: uvicorn.Server) -> None:
    """Look at the schema once the database answers; end the process when it is one this release does not know."""
    attempts = AsyncRetrying(
        retry=retry_if_exception_type((OperationalError, PoolTimeout)), wait=wait_random_exponential(max=5)
    )
    async for attempt in attempts:
        with attempt:
            async with pool.connection() as connection:
                try:
                    await require_schema(connection, "telemetry")
                except SchemaError:
                    server.should_exit = True
                    raise


async def _obstacle(pool: AsyncConnectionPool) -> str | None:
    try:
        async with pool.connection(timeout=2) as connection:
            with Patience(connection, 2):
                await connection.execute("SELECT FROM ingest_batches LIMIT 1")
    except OperationalError as error:
        return f"the telemetry database does not answer: {type(error).__name__}"
    return None
