"""A simulator process for tests: started on a fleet, read until it says that it is ready, stopped as a service is."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Simulator:
    """`segs-sim run` on `fleet`, with its journal, and its control socket if wanted, in `folder`."""

    def __init__(self, folder: Path, fleet: str, *, control: bool = False) -> None:
        self.journal, self.control = folder / "journal.jsonl", folder / "control"
        file = folder / "fleet.toml"
        file.write_text(fleet)
        command = [sys.executable, "-m", "firmware_sim", "run", str(file), "--journal", str(self.journal)]
        if control:
            command += ["--control", str(self.control)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ready(self) -> dict[str, object]:
        """Waits for the ready line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        told: dict[str, object] = json.loads(line)
        return told

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit status and what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, stderr = self.process.communicate(timeout=20)
        return self.process.returncode, stderr

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@pytest.fixture
def start_simulator(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Starts a simulator on the text of a fleet file; ended with the test."""
    started: list[Simulator] = []

    def start(fleet: str, *, control: bool = False) -> Simulator:
        started.append(Simulator(tmp_path, fleet, control=control))
        return started[-1]

    yield start
    for simulator in started:
        simulator.process.kill()
        simulator.process.communicate()
