"""`segs-cloud worker`."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from cloud.settings import Settings

if TYPE_CHECKING:
    from cloud.workers.runner import WorkerSettings


def worker(
    metrics_port: Annotated[int, typer.Option(help="Port on 127.0.0.1 for Prometheus; 0 for none.")] = 0,
    pause_s: Annotated[float, typer.Option(min=0.05, help="Pause between two looks at the queues, seconds.")] = 0.5,
) -> None:
    """Compute aggregates, keep retention, deliver messages. Run any number, on any number of hosts."""
    # numpy and what else the work needs takes a moment to load, which other commands need not wait for.
    from cloud.notify.settings import NotifySettings
    from cloud.workers.runner import WorkerSettings

    databases = Settings()
    uvloop.run(
        _until_told(
            WorkerSettings(
                dsn=databases.telemetry,
                domain_dsn=databases.domain,
                metrics_port=metrics_port,
                pause_s=pause_s,
                notify=NotifySettings.load(),
            )
        )
    )


async def _until_told(settings: "WorkerSettings") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    from cloud.workers.runner import run

    await run(settings, stop=stop)
