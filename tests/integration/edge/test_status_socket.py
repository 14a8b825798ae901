"""The daemon's answer about itself, to clients of every manner."""

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path

from edge.buffer.state import BufferState
from edge.status.running import Running
from edge.status.socket import StatusServer, ask
from edge.uplink.state import UplinkState
from tests.integration.edge.peers import eventually


def _running(version: str = "1") -> Running:
    return Running(
        pid=1,
        version=version,
        started_us=0,
        written_us=0,
        devices=[],
        brokers=[],
        buffer=BufferState(),
        uplink=UplinkState(),
    )


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_who_asks_and_never_reads_is_let_go_with_all_that_was_kept_for_him(tmp_path: Path) -> None:
    """E30: each took a file and his answer's bytes for as long as he liked."""
    large, asked = _running("x" * 2**20), []

    def running() -> Running:
        asked.append(_open_files())
        return large

    async with StatusServer(data_dir=tmp_path, running=running, patience_s=0.2):
        before = _open_files()
        with ExitStack() as clients:
            for _ in range(20):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(tmp_path / "status.sock"))
            await eventually(lambda: len(asked) == 20)
            # With him who never reads there is one file more at each end.
            assert max(asked) > before + 20
            await eventually(lambda: _open_files() == before + 20)
            assert await asyncio.to_thread(ask, tmp_path) == large


async def test_in_a_folder_with_a_long_path_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """E32: a daemon that was killed leaves it."""
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    (folder / "status.sock").touch()
    async with StatusServer(data_dir=folder, running=_running):
        assert await asyncio.to_thread(ask, folder) == _running()
    assert not (folder / "status.sock").exists()
