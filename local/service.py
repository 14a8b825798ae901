"""A background process that outlives the command that started it, found again by its pid file."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.servers.process import start_ticks


class ServiceError(Exception):
    """A service did not start, or died. The message has the end of its log."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """A pid alone may be another process after a restart of the machine; with its start time it is not."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> "_Identity | None":
        """The process that lives with `pid` now, None when there is none."""
        started = start_ticks(pid)
        return None if started is None else cls(pid, started)


class Service:
    """One command, run detached with its output in a log file. `home` holds run/NAME.json and log/NAME.log.

    `environment` is asked at each start for what goes over this process's own.
    """

    def __init__(
        self, *, name: str, argv: Sequence[str], environment: Callable[[], Mapping[str, str]], home: Path
    ) -> None:
        self.name, self._argv, self._environment = name, list(argv), environment
        self._pid_file = home / "run" / f"{name}.json"
        self.log_file = home / "log" / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The running process, None when it is not running."""
        identity = self._identity()
        return identity.pid if identity else None

    def start(self) -> None:
        """Start the command unless it runs already."""
        if self.pid is not None:
            return
        for file in (self._pid_file, self.log_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                self._argv,
                env=os.environ | self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = _Identity.of(self._child.pid)
        if identity is None:
            raise ServiceError(f"{self.name} ended at once\n{self.tail()}")
        fresh = self._pid_file.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": identity.pid, "started_ticks": identity.started_ticks}))
        fresh.replace(self._pid_file)

    def stop(self, *, timeout_s: float = 20.0) -> None:
        """Ask it to end, and end it when it has not by the time-out. Nothing happens when it is not running."""
        self._signal(signal.SIGTERM)
        if not self._gone(timeout_s):
            self.kill()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if not self._gone(10.0):
            raise ServiceError(f"{self.name} does not end")

    def expect_alive(self) -> None:
        """Raises ServiceError when it is not running."""
        if self.pid is None:
            raise ServiceError(f"{self.name} has ended; the last lines of {self.log_file}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _identity(self) -> _Identity | None:
        try:
            noted = _Identity(**json.loads(self._pid_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            noted = None
        found = noted if noted is not None and _Identity.of(noted.pid) == noted else None
        if self._child is not None and found is None:
            if noted is not None and self._child.pid == noted.pid:
                # Its first thread is dead; it is only once the others are too that it holds no file and no lock.
                self._child.wait()
            else:
                self._child.poll()
        return found

    def _signal(self, number: signal.Signals) -> None:
        identity = self._identity()
        if identity is not None:
            os.kill(identity.pid, number)

    def _gone(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._identity() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True
