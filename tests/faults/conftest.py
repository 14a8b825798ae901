"""Both event loops that the gateway may run on, which drivers have to bear, and a disk that is soon full."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

_Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_event_loops: run on asyncio's event loop and on uvloop")


def pytest_asyncio_loop_factories(item: pytest.Item) -> _Loops:
    both: _Loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return both if item.get_closest_marker("both_event_loops") else {"asyncio": both["asyncio"]}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 2 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root and the permission to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
