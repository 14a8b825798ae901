"""What TCP endpoints and serial lines have in common: they are entered, they run, and a broken journal ends them."""

import asyncio
from types import TracebackType
from typing import Self

from firmware_sim.errors import JournalError


class Endpoint:
    """An async context manager; `run` lasts until it is cancelled and raises the JournalError that ended it.

    `place` says where it is, and `port` on which TCP port it listens, None on a serial line.
    """

    place = ""
    port: int | None = None

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._error: JournalError | None = None

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        while True:
            timeout_s = await self.adjust()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            self._changed.clear()
            if self._error is not None:
                raise self._error

    async def adjust(self) -> float | None:
        """Do what the endpoint's faults ask for now; the seconds until they may ask for something else."""
        return None

    def fail(self, error: JournalError) -> None:
        self._error = self._error or error
        self._changed.set()

    def changed(self) -> None:
        """The endpoint's faults are others now."""
        self._changed.set()
