"""Programs of ours as processes that begin with their imports made: those cost two seconds of processor each time."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["cloud.cli", "cloud.api.serve"])


class Program:
    """`segs-cloud ARGUMENTS` with `environment` on top of ours, its standard error appended to `log`.

    It is a child of a process that has imported what it needs and nothing more, and is asked and told what a
    subprocess.Popen is.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._process = _FORKS.Process(target=_run, args=(list(arguments), os.environ | environment, str(log)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired("segs-cloud", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    from cloud.cli import main

    os.environ.clear()
    os.environ.update(environment)
    with open(log, "a") as file:
        os.dup2(file.fileno(), 2)
    sys.argv = ["segs-cloud", *arguments]
    main()
