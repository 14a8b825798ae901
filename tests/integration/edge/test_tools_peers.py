"""`segs-edge` in a hurry: what is asked for wrongly, and servers that are not ours, by the program itself."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.edge.tools import SDM630, Server, edge, float_words, inside, said


def test_a_read_of_another_makers_server_prints_every_quantity_and_nothing_else() -> None:
    with Server({1: float_words(SDM630)}) as server:
        line = ("--host", "127.0.0.1", "--port", str(server.port))
        done = edge("read", *line, "--unit", "1", "--profile", "eastron-sdm630", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert said(done) == {
        "power_w": 1581.0,
        "power_l1_w": 345.1,
        "power_l2_w": 519.8,
        "power_l3_w": 716.1,
        "apparent_power_va": 1600.5,
        "reactive_power_var": 33.0,
        "power_factor": 0.98,
        "voltage_l1_v": 230.1,
        "voltage_l2_v": 231.2,
        "voltage_l3_v": 229.9,
        "current_l1_a": 1.5,
        "current_l2_a": 2.25,
        "current_l3_a": 3.125,
        "frequency_hz": 50.02,
        "energy_import_wh": 12345678,
        "energy_export_wh": 500,
        "reactive_energy_import_varh": 1000,
        "reactive_energy_export_varh": 2000,
    }


@contextmanager
def _interrupted(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A tool that has asked an endpoint which never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = ("--host", "127.0.0.1", "--port", str(server.getsockname()[1]), "--timeout", "30")
        command = [sys.executable, "-m", "edge", *arguments, *line]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = server.accept()
            with connection:
                assert len(connection.recv(12)) == 12
                process.send_signal(signal.SIGINT)
                try:
                    yield process
                finally:
                    process.kill()


def test_a_reading_that_was_interrupted_is_none() -> None:
    with _interrupted("read", "--unit", "1", "--profile", "abb-b23", "--json") as process:
        assert process.wait(20) == 1


def test_a_recording_ends_at_once_when_it_is_told_twice(tmp_path: Path) -> None:
    out = tmp_path / "bus.jsonl"
    with _interrupted("record", "--units", "1", "--profile", "abb-b23", "--out", str(out)) as process:
        deadline_s = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        assert process.returncode in (130, -signal.SIGINT)
    assert out.read_bytes().endswith(b"\n")


def test_a_profile_that_the_meter_itself_tells_has_no_page() -> None:
    done = inside("profiles", "sunspec")
    assert (done.returncode, done.stdout) == (2, "")
    assert "segs-edge read shows them" in done.stderr
