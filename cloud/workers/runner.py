"""One worker process: every kind of work in a loop of its own, claimed in the database, so that any number may run."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from prometheus_client import start_http_server
from psycopg import AsyncConnection

from cloud.db.pool import Pool, make_pool
from cloud.ingest.acceptance import ACCEPTANCE
from cloud.notify.settings import NotifySettings
from cloud.schema.version import require_schema
from cloud.systemd import Notifier
from cloud.workers import (
    aggregate,
    alerts,
    cleanup,
    overdue,
    post,
    prices,
    quarantine,
    reconcile,
    registry,
    retention,
    silence,
    tally,
    vee,
)
from cloud.workers.loop import Loop, Pulse, Work, pause

_LOG = structlog.get_logger("segs.worker")
_STATEMENT_TIMEOUT_S = 120.0
_DOMAIN_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """`dsn` is the telemetry database's, `domain_dsn` the domain database's, `notify` how messages are sent.

    `metrics_port` is on loopback, 0 for none; `pause_s` is between two looks at the queues.
    """

    dsn: str
    domain_dsn: str
    metrics_port: int = 0
    pause_s: float = 0.5
    notify: NotifySettings = field(default_factory=lambda: NotifySettings.model_construct())
    stop_within_s: float = 10.0


def kinds(settings: WorkerSettings, domain: Pool) -> list[Work]:
    """All the work there is but the post."""
    return [
        *aggregate.works(pause_s=settings.pause_s),
        *alerts.works(domain=domain, pause_s=settings.pause_s),
        *quarantine.works(ACCEPTANCE),
        *cleanup.works(domain_dsn=settings.domain_dsn),
        *overdue.works(domain_dsn=settings.domain_dsn),
        *prices.works(domain_dsn=settings.domain_dsn),
        *registry.works(domain_dsn=settings.domain_dsn, telemetry_dsn=settings.dsn),
        *retention.works(),
        *reconcile.works(),
        *tally.works(),
        *silence.works(),
        *vee.works(pause_s=settings.pause_s),
    ]


async def run(
    settings: WorkerSettings, *, stop: asyncio.Event, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> None:
    """Work until `stop` is set, then finish the steps under way, for `stop_within_s` at most.

    The database may be away, at the start and later. Raises the schema's VersionError (in an ExceptionGroup) when the
    database has a schema that this release does not know, its EditionError when the server cannot read all of the
    database, OSError when the metrics port is taken, SettingsError or KeysError where messages could not be sent.
    """
    pulse = Pulse(monotonic_s=time.monotonic)
    channels = settings.notify.channels()
    domain = make_pool(
        settings.domain_dsn,
        name="segs-worker",
        size=post.connections(channels) + alerts.CONNECTIONS,
        statement_timeout_s=_DOMAIN_TIMEOUT_S,
    )
    work = kinds(settings, domain)
    pool = make_pool(settings.dsn, name="segs-worker", size=len(work), statement_timeout_s=_STATEMENT_TIMEOUT_S)
    posts = post.works(
        channels=channels,
        pool=domain,
        sealing=settings.notify.sealing() if channels else b"",
        per_hour=settings.notify.notify_per_hour,
        pause_s=max(settings.pause_s, 1.0),
    )
    notifier = Notifier()
    with _metrics(settings.metrics_port):
        async with pool, domain:
            notifier.status("waiting for the telemetry database")
            notifier.ready()
            loops = [Loop(work=kind, pool=domain, clock=clock, pulse=pulse, stop=stop) for kind in posts]
            await _begin(work, pool, loops, clock, pulse, stop, notifier, settings)
            notifier.stopping()


async def _begin(
    work: list[Work],
    pool: Pool,
    posts: list[Loop],
    clock: Callable[[], datetime],
    pulse: Pulse,
    stop: asyncio.Event,
    notifier: Notifier,
    settings: WorkerSettings,
) -> None:
    known = asyncio.Event()

    async def look_at_schema(connection: AsyncConnection, _: datetime) -> bool:
        await require_schema(connection, "telemetry")
        known.set()
        return True

    async with asyncio.TaskGroup() as group:
        watch = group.create_task(_watch(pulse, notifier, stop), name="watchdog")
        # Codes reach people whether or not there are readings.
        tasks = [group.create_task(loop.run(), name=loop.name) for loop in posts]
        schema = Loop(
            work=Work(name="schema", step=look_at_schema, pause_s=1), pool=pool, clock=clock, pulse=pulse, stop=stop
        )
        while not known.is_set() and not stop.is_set():
            await schema.once()
        pulse.forget("schema")
        _LOG.info("working", kinds=[kind.name for kind in work])
        notifier.status("working")
        tasks += [
            group.create_task(Loop(work=kind, pool=pool, clock=clock, pulse=pulse, stop=stop).run(), name=kind.name)
            for kind in work
        ]
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=settings.stop_within_s)
        for task in late:
            _LOG.warning("step_cancelled", loop=task.get_name())
            task.cancel()
        watch.cancel()


async def _watch(pulse: Pulse, notifier: Notifier, stop: asyncio.Event) -> None:
    """Feeds the watchdog while all loops move; once one does not, systemd restarts the process."""
    limit_s = max(_STATEMENT_TIMEOUT_S + 30, notifier.watchdog_s or 0)
    while not stop.is_set():
        stuck = pulse.stuck(limit_s)
        if stuck:
            _LOG.error("loops_stuck", loops=stuck)
        else:
            notifier.alive()
        await pause(stop, (notifier.watchdog_s or 20) / 2)


@contextmanager
def _metrics(port: int) -> Iterator[None]:
    if port == 0:
        yield
        return
    try:
        server, thread = start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise OSError(f"metrics port {port}: {error.strerror}; choose another with --metrics-port, or 0") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
