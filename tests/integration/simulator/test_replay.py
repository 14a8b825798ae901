"""A recorded bus, played back to clients that are not ours."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

START_US = 1_772_366_400 * 10**6


def _line(at_s: float, unit: int, request: str, reply: str | None, **more: object) -> dict[str, object]:
    exchange = {"t_us": START_US + round(at_s * 1e6), "unit": unit, "request": request, "reply": reply}
    return exchange | {"took_us": 1000} | more


HEAD = {"segs_recording": 1, "endpoint": "/dev/ttyUSB0", "framing": "rtu", "started_us": START_US}
LINES = [
    _line(0, 1, "0400340002", "040441200000"),
    _line(2, 1, "0400340002", "040441a00000", took_us=400_000),
    _line(1, 1, "0400340002", None, took_us=1_000_000),
    _line(3, 2, "0300000001", "8306"),
    _line(4, 2, "0300010001", None, raw="02030212"),
]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Plays a recording; the process and its port."""
    recording = tmp_path / "bus.jsonl"
    recording.write_text("".join(json.dumps(line) + "\n" for line in (HEAD, *LINES)))
    playing: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-m", "firmware_sim", "replay", str(recording), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        playing.append(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["meters"] == 2
        return process, told["modbus_ports"][0]

    yield start
    for process in playing:
        process.kill()
        process.communicate()


def _tcp(line: socket.socket, unit: int, pdu: str, transaction: int = 7) -> bytes:
    body = bytes.fromhex(pdu)
    line.sendall(struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body)
    line.settimeout(0.2)
    try:
        return line.recv(64)[7:]
    except TimeoutError:
        return b""
    finally:
        line.settimeout(5)


def test_a_bus_recorded_on_a_line_answers_over_tcp_in_the_order_of_time_and_from_the_start_again(play) -> None:
    process, port = play("--framing", "tcp", "--speed", "100")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        answers = [_tcp(line, 1, "0400340002").hex() for _ in range(4)]
        assert answers == ["040441200000", "", "040441a00000", "040441200000"]
        assert _tcp(line, 2, "0300000001").hex() == "8306"
        assert _tcp(line, 2, "0300010001") == b"", "bytes of an RTU line mean nothing here"
        assert _tcp(line, 1, "0400360002").hex() == "8402", "never recorded"
        assert _tcp(line, 9, "0400340002").hex() == "840b", "never seen"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_it_takes_the_time_that_it_took(play) -> None:
    _, port = play("--framing", "tcp")
    with ModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0) as client:
        client.read_input_registers(0x34, count=2, device_id=1)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        assert _tcp(line, 1, "0400340002") == b""
        started_s = time.monotonic()
        line.sendall(bytes.fromhex("000700000006010400340002"))
        assert len(line.recv(64)) == 13
    assert time.monotonic() - started_s >= 0.4


def test_on_a_terminal_it_is_the_line_again_with_its_noise(play, tmp_path: Path) -> None:
    play("--pty", str(tmp_path / "line"))
    with ModbusSerialClient(str(tmp_path / "line"), timeout=2, retries=0) as client:
        assert client.read_input_registers(0x34, count=2, device_id=1).registers == [0x4120, 0]
        assert client.read_holding_registers(0, count=1, device_id=2).exception_code == 6
    file = os.open(tmp_path / "line", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(file)
    os.write(file, bytes.fromhex("020300010001") + bytes.fromhex("d5f9"))
    assert select.select([file], [], [], 5)[0]
    assert os.read(file, 64).hex() == "02030212"
    os.close(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bus.jsonl:1: Input data was truncated; name a recording of segs-edge record"),
        ('{"segs_recording": 2, "framing": "tcp"}\n', "bus.jsonl:1: version 2 of the format; play it with"),
        (
            json.dumps(HEAD) + "\n" + json.dumps(LINES[0] | {"request": "04003"}) + "\n",
            "bus.jsonl:2: non-hexadecimal number found in fromhex() arg at position 5; write bytes as hex",
        ),
        (json.dumps(HEAD) + "\n{}\n" + json.dumps(LINES[0]) + "\n", "bus.jsonl:2: Object missing required field"),
        (json.dumps(HEAD) + "\n{}\n", "bus.jsonl:2: Object missing required field"),
        (json.dumps(HEAD) + "\n" + json.dumps(LINES[0] | {"unit": 999}) + "\n", "bus.jsonl:2: Expected `int` <= 255"),
        (json.dumps(HEAD) + "\n" + json.dumps(LINES[0] | {"took_us": -1}) + "\n", "bus.jsonl:2: Expected `int` >= 0"),
    ],
)
def test_what_is_no_recording_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    recording = tmp_path / "bus.jsonl"
    recording.write_text(text)
    command = [sys.executable, "-m", "firmware_sim", "replay", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
