"""The tools as an engineer runs them, on servers that are not ours."""

import asyncio
import struct
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import msgspec
import typer
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from typer.testing import CliRunner

from tests.integration.edge.peers import free_port

SDM630 = {
    0x00: 230.1,
    0x02: 231.2,
    0x04: 229.9,
    0x06: 1.5,
    0x08: 2.25,
    0x0A: 3.125,
    0x0C: 345.1,
    0x0E: 519.8,
    0x10: 716.1,
    0x34: 1581.0,
    0x38: 1600.5,
    0x3C: 33.0,
    0x3E: 0.98,
    0x46: 50.02,
    0x48: 12345.678,
    0x4A: 0.5,
    0x4C: 1.0,
    0x4E: 2.0,
}
"""Values of an SDM630 by their addresses, in its own units."""


def edge(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def inside(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """A tool in this process: what it says and how it ends are the same, and it starts fifty times as fast."""
    name, *rest = arguments
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name)(import_module(f"edge.tools.{name}").command)
    done = CliRunner().invoke(app, rest, input=stdin, catch_exceptions=False)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def said(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a tool printed, and nothing else on standard output."""
    return msgspec.json.decode(done.stdout)


def float_words(values: dict[int, float], *, swapped: bool = False) -> dict[int, int]:
    """Registers of float32 values, the most significant word first unless `swapped`."""
    words: dict[int, int] = {}
    for address, value in values.items():
        pair = struct.unpack(">HH", struct.pack(">f", value))
        words |= dict(zip((address, address + 1), reversed(pair) if swapped else pair, strict=True))
    return words


class Server(AbstractContextManager["Server"]):
    """pymodbus's own server, in a thread: `registers[unit]` from 0 to 0x5FFF, and those that were written are kept."""

    def __init__(self, registers: dict[int, dict[int, int]]) -> None:
        self.port = free_port()
        self._registers = registers

    def __enter__(self) -> "Server":
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        devices = [SimDevice(unit, simdata=[_memory(words)]) for unit, words in self._registers.items()]
        server = ModbusTcpServer(devices, address=("127.0.0.1", self.port))
        await server.serve_forever(background=True)
        self._ready.set()
        await self._stop.wait()
        await server.shutdown()


def _memory(words: dict[int, int]) -> SimData:
    values = [words.get(address, 0) for address in range(0x6000)]
    return SimData(0, values=values, datatype=DataType.REGISTERS)
