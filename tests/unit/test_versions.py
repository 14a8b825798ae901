"""Whoever reports a fault can say of which release each program is."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest


@pytest.mark.parametrize(
    ("package", "program"),
    [("cloud", "segs-cloud"), ("edge", "segs-edge"), ("local", "segs"), ("firmware_sim", "segs-sim")],
)
def test_every_program_says_its_version_and_starts_nothing(package: str, program: str) -> None:
    """Also where nothing is configured."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGS_")}
    done = subprocess.run(
        [sys.executable, "-m", package, "--version"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program} {version('segs')}\n", "")
