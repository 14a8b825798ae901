"""Background processes, found again by their pid files; nobody else's process is ever ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.service import Service, ServiceError

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def _service(home: Path) -> Service:
    return Service(name="sleeper", argv=_SLEEP, environment=dict, home=home)


def _noted(home: Path) -> Path:
    return home / "run" / "sleeper.json"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(_SLEEP)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = _service(tmp_path)
    yield service
    service.kill()


def test_a_service_is_found_and_stopped_by_another_command(tmp_path: Path, service: Service) -> None:
    service.start()
    found = _service(tmp_path)
    assert found.pid == service.pid is not None
    found.start()
    assert found.pid == service.pid
    found.stop()
    assert (service.pid, _noted(tmp_path).exists()) == (None, False)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes], how: str
) -> None:
    """The same number and the same command: only the start tells them apart."""
    _noted(tmp_path).parent.mkdir()
    _noted(tmp_path).write_text(json.dumps({"pid": stranger.pid, "started_ticks": 1}))
    service = _service(tmp_path)
    assert service.pid is None
    getattr(service, how)()
    assert stranger.poll() is None


@pytest.mark.parametrize("noted", ["", "{", "null", "[]", "7", '{"pid": 1}', '{"pid": "1", "started_ticks": "0"}'])
def test_a_pid_file_that_is_torn_names_nobody(tmp_path: Path, service: Service, noted: str) -> None:
    _noted(tmp_path).parent.mkdir()
    _noted(tmp_path).write_text(noted)
    _service(tmp_path).stop()
    _noted(tmp_path).write_text(noted)
    service.start()
    assert service.pid not in (None, os.getpid())


def test_a_service_that_was_killed_does_not_count_as_running(service: Service) -> None:
    service.start()
    pid = service.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert service.pid is None
    with pytest.raises(ServiceError, match="sleeper has ended"):
        service.expect_alive()
