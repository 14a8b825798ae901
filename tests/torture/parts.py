"""The processes under torture, each of which can be started, stopped, killed, and stopped for a while."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from local.servers import MosquittoBroker, PostgresServer
from local.service import Service
from tests.torture.history import now_us


class _Process(Protocol):
    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Part:
    """One process, or one server with its children. `before_start` is called whenever it is started."""

    def __init__(
        self,
        name: str,
        process: Service | PostgresServer | MosquittoBroker,
        *,
        before_start: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._process: _Process = process
        self._before_start = before_start
        self.lock = threading.RLock()
        self.started_us = 0
        self.down = False
        """Meant to be down: nobody starts it but who took it down."""

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def start(self) -> None:
        with self.lock:
            if self.pid is None:
                self._before_start()
                self.started_us = now_us()
                self._process.start()

    def stop(self) -> None:
        with self.lock:
            self._process.stop()

    def kill(self) -> None:
        with self.lock:
            self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP, the parent first, so that no child is born meanwhile."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def children(self) -> list[int]:
        pid = self.pid
        return [] if pid is None else list(_children(pid))

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            return
        for process in (pid, *_children(pid)):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def tail(self) -> str:
        """The end of its log, where it has one of its own."""
        return self._process.tail(40) if isinstance(self._process, Service) else ""


def _children(parent: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            yield int(status.parent.name)
