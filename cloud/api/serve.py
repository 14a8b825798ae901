"""`segs-cloud api`: one process of the API. Stateless; run as many as there are cores or hosts."""

import asyncio
from datetime import UTC, datetime

import structlog
import uvicorn
from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from cloud.api.app import build
from cloud.api.database import STATEMENT_S, Databases
from cloud.api.http.limits import Requests
from cloud.api.http.pace import Pace
from cloud.api.measured.arrived import Arrived
from cloud.api.measured.memory import Memory
from cloud.api.measured.quick import CHANNEL, DOMAIN, TELEMETRY, Quick
from cloud.api.parts import Parts
from cloud.api.settings import ApiSettings
from cloud.connections import Connections, room
from cloud.db.lanes import open_lanes
from cloud.db.listener import Listener
from cloud.db.patience import Patience
from cloud.db.pool import make_pool
from cloud.db.queries import Queries
from cloud.errors import CloudError
from cloud.identity.errors import KeysError
from cloud.identity.keys import KeyFolder, open_folder
from cloud.identity.passwords import QUEUE, THREADS, Passwords
from cloud.identity.settings import IdentitySettings
from cloud.identity.tokens import AccessTokens
from cloud.payments.settings import PaymentSettings
from cloud.schema.errors import Database, SchemaError
from cloud.schema.version import require_schema
from cloud.service import BACKLOG, Server, listen, settle, watch
from cloud.systemd import Notifier

_LOG = structlog.get_logger("segs.api")
_QUERIES = Queries("session")
_DATABASE_CONNECTIONS = 8
_LANES = 2
_HTTP_CONNECTIONS = 2000
# Whoever waits for a database that is away, or too slow, waits so long, and no more of them than that.
_WAIT_S, _WAITING = 4.0, 200
_LOOK_S = 2.0


class TooMighty(CloudError):
    """A login for which the databases' own rules do not hold. `database` is domain or telemetry."""

    exit_status = 2

    def __init__(self, database: Database, login: str) -> None:
        super().__init__(
            f"SEGS_{database.upper()}_DSN logs in as {login}, who may see everything whoever asks; let the API log in "
            "as segs_api"
        )
        self.database = database


async def serve(
    *, domain_dsn: str, telemetry_dsn: str, host: str, port: int, cors_origins: tuple[str, ...] = ()
) -> None:
    """Listen until SIGTERM or SIGINT, then finish what is under way.

    The databases may be away, at the start and later: requests get 503 then. Raises SettingsError, InputError,
    KeysError, the schema's VersionError and EditionError, TooMighty, OSError when the port is taken.
    """
    identity, settings = IdentitySettings.load(), ApiSettings.load()
    providers = PaymentSettings().providers()
    keys = open_folder(identity.keys_folder, development=identity.development, now=datetime.now(UTC))
    listening = listen(host, port)
    async with (
        _pool(domain_dsn) as domain,
        _pool(telemetry_dsn) as telemetry,
        open_lanes(domain_dsn, count=_LANES, name="segs-api", statements=DOMAIN) as quick_domain,
        open_lanes(telemetry_dsn, count=_LANES, name="segs-api", statements=TELEMETRY) as quick_telemetry,
    ):
        memory = Memory()
        listener = Listener(domain_dsn, name="segs-api", channel=CHANNEL, heard=memory.forget, wanted=memory.used)
        arrived = Arrived(quick_telemetry, memory)
        pools: dict[Database, AsyncConnectionPool] = {"domain": domain, "telemetry": telemetry}

        async def ready() -> dict[str, str]:
            looked = await asyncio.gather(*(_obstacle(name, pool) for name, pool in pools.items()))
            found = dict(zip(pools, looked, strict=True)) | {"keys": _without_keys(keys)}
            return {where: why for where, why in found.items() if why is not None}

        with Passwords(threads=THREADS, queue=QUEUE) as passwords:
            parts = Parts(
                databases=Databases(domain=domain, telemetry=telemetry),
                quick=Quick(
                    domain=quick_domain, telemetry=quick_telemetry, memory=memory, listener=listener, arrived=arrived
                ),
                keys=keys,
                tokens=AccessTokens(keys=keys, issuer=identity.issuer, lifetime_s=identity.access_token_s),
                passwords=passwords,
                identity=identity,
                ready=ready,
                trusted=settings.trusted_proxies,
                pace=Pace(even=not identity.development),
                requests=Requests(per_minute=settings.api_requests_per_minute),
                cors_origins=cors_origins,
                providers=providers,
            )
            app = build(parts)
            connections = Connections(limit=room(_HTTP_CONNECTIONS, BACKLOG))
            config = uvicorn.Config(
                app,
                http=connections.protocol,
                backlog=BACKLOG,
                timeout_keep_alive=round(connections.idle_timeout_s),
                log_config=None,
                access_log=False,
                # Who is believed is the API's own setting.
                proxy_headers=False,
                timeout_graceful_shutdown=10,
                lifespan="off",
            )
            server = Server(config, stopping=parts.stopping)
            settle()
            notifier = Notifier()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_refuse(name, pool, server), name=f"{name} schema")
                    for name, pool in pools.items()
                ]
                tasks += [
                    group.create_task(watch(listening, notifier), name="watchdog"),
                    group.create_task(listener.run(), name="access listener"),
                    group.create_task(arrived.run(), name="arrivals"),
                ]
                _LOG.info("listening", host=host, port=listening.getsockname()[1], env=identity.env.value)
                await server.serve(sockets=[listening])
                notifier.stopping()
                for task in tasks:
                    task.cancel()


async def _refuse(database: Database, pool: AsyncConnectionPool, server: Server) -> None:
    """Look at schema and login once the database answers; end the process where they are not right."""
    attempts = AsyncRetrying(
        retry=retry_if_exception_type((OperationalError, PoolTimeout)), wait=wait_random_exponential(max=5)
    )
    async for attempt in attempts:
        with attempt:
            async with pool.connection() as connection:
                try:
                    await require_schema(connection, database)
                    query = _QUERIES["secured" if database == "domain" else "narrow"]
                    row = await (await connection.execute(query)).fetchone()
                    assert row is not None
                    if not row[1]:
                        raise TooMighty(database, row[0])
                except (SchemaError, TooMighty):
                    server.should_exit = True
                    raise


def _pool(dsn: str) -> AsyncConnectionPool:
    return make_pool(
        dsn,
        name="segs-api",
        size=_DATABASE_CONNECTIONS,
        timeout_s=_WAIT_S,
        statement_timeout_s=STATEMENT_S,
        utc=True,
        waiting=_WAITING,
    )


async def _obstacle(database: Database, pool: AsyncConnectionPool) -> str | None:
    try:
        async with pool.connection(timeout=_LOOK_S) as connection:
            with Patience(connection, _LOOK_S):
                await require_schema(connection, database)
    except OperationalError as error:
        return f"the {database} database does not answer: {type(error).__name__}"
    except SchemaError as error:
        return str(error)
    return None


def _without_keys(keys: KeyFolder) -> str | None:
    try:
        keys.current()
    except KeysError as error:
        return str(error)
    return None
