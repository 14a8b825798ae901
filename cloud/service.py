"""What the HTTP services have in common: a server that ends cleanly, and the word to the service manager."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import httpx
import uvicorn

from cloud.systemd import Notifier

BACKLOG = 256
_OBJECTS_BETWEEN_COLLECTIONS = 20_000


class Server(uvicorn.Server):
    """uvicorn would raise the signal again after its shutdown, and a clean stop would end with a signal's status.

    `stopping` is set as soon as it is told to stop, for answers that have no end of their own.
    """

    def __init__(self, config: uvicorn.Config, *, stopping: asyncio.Event | None = None) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """In the event loop, as capture_signals() says."""
        super().handle_exit(sig, frame)
        if self._stopping is not None:
            self._stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def settle() -> None:
    """Once all is there that stays: the collector looks for cycles in it no more, which took a tenth of a receiver's
    time, and less often in the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises OSError, which says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(f"{host} port {port}: {error.strerror}; choose others with --host and --port") from error


async def watch(listener: socket.socket, notifier: Notifier) -> None:
    """Tell the service manager that requests are answered, after one was. A database that is away is no reason to
    restart the service, so the request asks for life, not for readiness."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}/livez" if ":" in host else f"http://{host}:{port}/livez"
    pause_s = min((notifier.watchdog_s or 20) / 3, 10)
    # A proxy of the environment is not for this machine's own services.
    async with httpx.AsyncClient(timeout=pause_s, trust_env=False) as client:
        announced = False
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).is_success:
                    if not announced:
                        notifier.ready()
                        announced = True
                    notifier.alive()
            await asyncio.sleep(pause_s if announced else 0.05)
