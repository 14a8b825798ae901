"""`segs-edge write`: guarded, read back, and on record."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from pyModbusTCP.client import ModbusClient

from tests.integration.edge.tools import Server, edge, inside


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({1: {0x14: 0x3F80, 0x20: 7}}) as server:
        yield server


def _there(server: Server, address: int, count: int) -> Any:
    client = ModbusClient("127.0.0.1", server.port, unit_id=1)
    try:
        return client.read_holding_registers(address, count)
    finally:
        client.close()


def _arguments(server: Server, address: str, kind: str, value: str, *more: str) -> list[str]:
    return [
        *("write", "--host", "127.0.0.1", "--port", str(server.port), "--unit", "1"),
        *("--address", address, "--type", kind, "--value", value, *more),
    ]


def test_a_value_is_written_read_back_and_put_on_record(server: Server) -> None:
    done = edge(*_arguments(server, "0x0014", "float32", "2.5", "--yes"))
    assert done.returncode == 0
    assert _there(server, 0x14, 2) == [0x4020, 0]
    lines = done.stderr.splitlines()
    where = f"127.0.0.1:{server.port} unit 1 register 0x0014"
    assert lines[0] == f"{where}: now 1.0 (3f80 0000)"
    assert lines[-1] == f"{where}: reads back 2.5 (4020 0000)"
    [record] = [msgspec.json.decode(line) for line in lines if line.startswith("{")]
    assert {"event": "register written", "old": "3f80 0000", "new": "4020 0000", "unit": 1}.items() <= record.items()
    assert record["by"]


@pytest.mark.parametrize(
    ("kind", "value", "more", "words"),
    [
        ("u16", "0x1234", [], [0x1234, 0]),
        ("s16", "-2", [], [0xFFFE, 0]),
        ("u32", "65538", [], [1, 2]),
        ("u32", "65538", ["--word-order", "little"], [2, 1]),
        ("s32", "-2", ["--function", "16"], [0xFFFF, 0xFFFE]),
    ],
)
def test_numbers_stand_in_registers_as_they_were_asked_to(
    server: Server, kind: str, value: str, more: list[str], words: list[int]
) -> None:
    assert edge(*_arguments(server, "0x30", kind, value, "--yes", *more)).returncode == 0
    assert _there(server, 0x30, 2) == words


def test_without_a_terminal_nothing_is_written_unless_told(server: Server) -> None:
    done = edge(*_arguments(server, "0x20", "u16", "8"), stdin=b"y\n")
    assert done.returncode == 1
    assert "nothing written; nobody to ask on a terminal: give --yes" in done.stderr
    assert _there(server, 0x20, 1) == [7]


@pytest.mark.parametrize(("answer", "status", "there"), [(b"n\n", 1, 7), (b"\n", 1, 7), (b"y\n", 0, 8)])
def test_at_a_terminal_it_asks(server: Server, answer: bytes, status: int, there: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edge", *_arguments(server, "0x20", "u16", "8")]
    try:
        with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            threading.Timer(0.1, os.write, (ours, answer)).start()
            _, stderr = process.communicate(timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"Write it? [y/N]" in stderr
    assert process.returncode == status
    assert _there(server, 0x20, 1) == [there]


def test_a_meter_that_refuses_is_reported(server: Server) -> None:
    done = edge(*_arguments(server, "0x6000", "u16", "8", "--yes"))
    assert done.returncode == 1
    assert "exception 2, illegal data address; the meter refuses it" in done.stderr
    assert '"event": "register not written"' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--unit", "0", "--address", "1", "--type", "u16", "--value", "1"], "--broadcast"),
        (["--unit", "1", "--address", "1", "--type", "u16", "--value", "70000"], "fits u16"),
        (["--unit", "1", "--address", "1", "--type", "u32", "--value", "1.5"], "a whole number"),
        (["--unit", "1", "--address", "0xffff", "--type", "u32", "--value", "1"], "not within"),
        (["--unit", "1", "--address", "1", "--type", "u32", "--value", "1", "--function", "6"], "6 writes one"),
        (["--unit", "1", "--address", "one", "--type", "u16", "--value", "1"], "no address"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(arguments: list[str], words: str) -> None:
    done = inside("write", "--host", "127.0.0.1", *arguments, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
