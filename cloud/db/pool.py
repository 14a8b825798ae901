"""Connection pools of the services."""

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from cloud.db.alive import ALIVE
from cloud.db.patience import Patience

_CHECK_S = 1.5
Pool = AsyncConnectionPool[AsyncConnection]


def make_pool(
    dsn: str,
    *,
    name: str,
    size: int,
    timeout_s: float = 5.0,
    statement_timeout_s: float | None = None,
    utc: bool = False,
    waiting: int = 0,
) -> Pool:
    """A closed pool of at most `size` connections; `async with` opens it without waiting for the server.

    `timeout_s` bounds the wait for a connection (psycopg_pool.PoolTimeout), `statement_timeout_s` each statement
    (psycopg.errors.QueryCanceled); every connection that serves people's requests has one. A connection is proven alive
    before it is handed out, and none grows older than an hour. With `utc` times come in UTC. At most `waiting` wait
    for a connection (psycopg_pool.TooManyRequests), 0 for any number.
    """
    kwargs: dict[str, object] = {"application_name": name, "connect_timeout": 10, **ALIVE}
    options = ["-c timezone=UTC"] if utc else []
    if statement_timeout_s is not None:
        options.append(f"-c statement_timeout={round(statement_timeout_s * 1000)}")
    if options:
        kwargs["options"] = " ".join(options)
    return AsyncConnectionPool(
        dsn,
        name=name,
        min_size=1,
        max_size=size,
        timeout=timeout_s,
        max_lifetime=3600,
        # Attempts double their pauses: ended soon and begun anew by who asks next, so that a server that was away for
        # an hour is found within seconds of its return.
        reconnect_timeout=3,
        open=False,
        check=_check,
        max_waiting=waiting,
        kwargs=kwargs,
    )


async def _check(connection: AsyncConnection) -> None:
    with Patience(connection, _CHECK_S):
        await AsyncConnectionPool.check_connection(connection)
