"""The daemon: started, run until a signal, and stopped."""

import asyncio
import signal
from contextlib import AsyncExitStack

from edge.buffer.lock import BufferLock
from edge.clock import Clock
from edge.config.models import Config
from edge.errors import DataDirUnusable, EdgeError
from edge.gateway import Gateway
from edge.status.status import LOCK_FILE
from edge.systemd import Notifier


def main(config: Config) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises EdgeError when it cannot start, or could not stop cleanly."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_until_signal(config))
    except ExceptionGroup as group:
        # One task could not go on, and the others were ended for it.
        if isinstance(first := _first(group), EdgeError):
            raise first from group
        raise


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _until_signal(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await run(config, stop=stop, notifier=Notifier())
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run(config: Config, *, stop: asyncio.Event, notifier: Notifier, clock: Clock | None = None) -> None:
    """Poll, buffer and sync until `stop`."""
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirUnusable(str(config.data_dir), str(error.strerror)) from error
    async with AsyncExitStack() as stack:
        stack.enter_context(BufferLock(config.data_dir / LOCK_FILE))
        gateway = Gateway(config=config, clock=clock or Clock(), notifier=notifier)
        await gateway.assemble(stack)
        await gateway.serve(stop)
