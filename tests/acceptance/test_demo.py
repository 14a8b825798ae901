"""`segs demo` as a new user runs it, on a terminal that is none."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.servers import segs_home
from local.stack import Stack


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of its own, with the servers that are fetched already."""
    home = tmp_path_factory.mktemp("demo")
    if (segs_home() / "cache").exists():
        (home / "cache").symlink_to(segs_home() / "cache")
    return home


def _demo(home: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "local", "demo", *options]
    return subprocess.Popen(command, env=os.environ | {"SEGS_HOME": str(home)}, stdout=subprocess.PIPE, text=True)


@pytest.mark.xdist_group("whole-machine")
@pytest.mark.timeout(180)
def test_the_demo_proves_itself_also_when_it_is_interrupted(home: Path) -> None:
    """The database ran before, for somebody else, and goes on."""
    database = Stack(home=home).databases.server
    database.start()
    demo = _demo(home, "--modbus", "3", "--mqtt", "2", "--history", "2")
    assert demo.stdout is not None
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if "stored" in line and " stored 0 " not in line:
            break
    time.sleep(5)

    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=90)

    summary = json.loads(rest.splitlines()[-1])
    assert demo.returncode == 0, summary
    assert (summary["meters"], summary["lost"], summary["duplicated"], summary["energy_error_wh"]) == (5, 0, 0, 0)
    assert summary["readings_stored"] == summary["readings_polled"] > 10
    assert summary["aggregates_1m_rows"] >= 5
    assert summary["first_reading_s"] > 0
    assert summary["edition"] in ("apache", "community")
    assert any(line.startswith("the intervals of 9 meters add up to their registers; 8 people: ") for line in lines)
    # Its meters are well, and of what its history showed nobody is alarmed.
    assert "alerts: none" in rest.splitlines()
    assert stat.S_IMODE((home / "seed" / "people.csv").stat().st_mode) == 0o600
    left = {name for name, pid in Stack(home=home).running().items() if pid is not None}
    database.stop()
    assert left == {"postgresql"}


@pytest.mark.xdist_group("whole-machine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_set_up_ends_it_and_leaves_nothing(home: Path, number: signal.Signals) -> None:
    demo = _demo(home, "--modbus", "3", "--mqtt", "2")
    assert demo.stdout is not None
    demo.stdout.readline()
    while Stack(home=home).running()["postgresql"] is None:
        time.sleep(0.05)

    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=60)

    assert demo.returncode != 0
    assert "lost" not in rest
    assert set(Stack(home=home).running().values()) == {None}


@pytest.mark.long
@pytest.mark.xdist_group("whole-machine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_history_ends_it_and_the_next_demo_goes_on_with_it(
    home: Path, number: signal.Signals
) -> None:
    demo = _demo(home, "--modbus", "3", "--mqtt", "2", "--history", "4")
    assert demo.stdout is not None
    while not demo.stdout.readline().startswith("people and 9 meters"):
        assert demo.poll() is None
    time.sleep(1)

    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=60)

    assert demo.returncode != 0
    assert "lost" not in rest
    assert set(Stack(home=home).running().values()) == {None}
    again = _demo(home, "--modbus", "3", "--mqtt", "2", "--history", "4", "--seconds", "3")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert said.count("add up to their registers") == 1
