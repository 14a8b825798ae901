"""A reader at a prompt: blocks are typed one after the other, and what one leaves behind the next one finds."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_TIMEOUT_S = 240.0


class Shell:
    """Bash in `folder`: working folder and exported variables stay from block to block. Ends what it started."""

    def __init__(self, *, folder: Path, notes: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = str(folder), dict(environment)
        self._notes = notes
        self._background: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._background):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run(self, script: str) -> tuple[int, str]:
        """Exit status, and what was printed on either stream. The first command that fails ends the script."""
        left = self._notes / "left"
        keep = f"status=$?; pwd >{shlex.quote(str(left))}; env -0 >>{shlex.quote(str(left))}; exit $status"
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail; trap {shlex.quote(keep)} EXIT\n{script}"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        self._folder, _, environment = left.read_text().partition("\n")
        self._environment = dict(entry.split("=", 1) for entry in environment.split("\0") if "=" in entry)
        return done.returncode, done.stdout

    def start(self, script: str) -> None:
        """Run `script` until the end of the page; its output is in a file beside the notes."""
        with (self._notes / f"background-{len(self._background)}.log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background.append(process)

    def file(self, name: str) -> Path:
        """A file in the present working folder."""
        return Path(self._folder) / name

    def tails(self) -> str:
        """The ends of what the background blocks printed."""
        logs = sorted(self._notes.glob("background-*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)
