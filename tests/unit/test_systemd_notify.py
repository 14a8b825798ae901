"""The real gateway under its unit's system call filter: it says that it is ready, feeds the watchdog, stops in time."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "segs-edge.service"
SANDBOX = Path(__file__).with_name("systemd_sandbox.py")
CANNOT = 77


def _until(manager: socket.socket, message: str) -> None:
    """Reads what the service says until it says `message`; TimeoutError when it stays silent."""
    while not any(line == message for line in manager.recv(4096).decode().splitlines()):
        pass


def test_the_gateway_runs_under_its_unit_with_neither_meter_nor_key_nor_cloud(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """E11, C13: the watchdog is fed while the loops move, and a dead meter is no reason to stop them."""
    (tmp_path / "edge.toml").write_text(
        f"""
        gateway = {{ name = "g", data_dir = "{tmp_path}/data" }}
        uplink = {{ url = "http://127.0.0.1:{free_port()}", key_file = "missing.key" }}
        metrics = {{ port = {free_port()} }}
        [[modbus]]
        host = "127.0.0.1"
        port = {free_port()}
        device = [{{ id = "m", unit = 1, profile = "eastron-sdm630", interval_s = 0.2 }}]
        """,
        "utf-8",
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = f"@segs-test-{os.getpid()}"
        manager.bind("\0" + address[1:])
        manager.settimeout(20)
        command = [sys.executable, "-m", "edge", "run", "--config", str(tmp_path / "edge.toml")]
        environment = {key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"}
        gateway = subprocess.Popen(
            [sys.executable, str(SANDBOX), str(UNIT), *command],
            env=environment | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1500000"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            _until(manager, "READY=1")
            _until(manager, "WATCHDOG=1")
            gateway.send_signal(signal.SIGTERM)
            _until(manager, "STOPPING=1")
            output, _ = gateway.communicate(timeout=30)
        except TimeoutError:
            gateway.kill()
            output, _ = gateway.communicate()
            if gateway.returncode == CANNOT:
                pytest.skip(output.strip())
            pytest.fail(output)
        finally:
            gateway.kill()
            gateway.wait()

    assert gateway.returncode == 0, output
