"""`segs-edge read` on servers that are not ours: what is there, what is not, and what to try."""

import json
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from pyModbusTCP.server import DataBank, ModbusServer

from tests.integration.edge.peers import free_port
from tests.integration.edge.tools import SDM630, Server, edge, float_words, inside, said
from tests.integration.simulator.conftest import Simulator, start_simulator

__all__ = ["start_simulator"]

_EXPECTED = {
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
_METER = '[[modbus.meter]]\nname = "m"\nmodel = "eastron-sdm630"\nunit = 7\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    swapped = float_words({0x00: 230.1, 0x02: 231.2, 0x04: 229.9, 0x46: 50.02}, swapped=True)
    lost = float_words(SDM630) | {0x3E: 0x7FC0, 0x3F: 0}
    with Server({1: float_words(SDM630), 2: swapped, 3: lost}) as server:
        yield server


def _on(server: Server, unit: int, profile: str = "eastron-sdm630") -> list[str]:
    return ["read", "--host", "127.0.0.1", "--port", str(server.port), "--unit", str(unit), "--profile", profile]


def test_a_reading_is_one_flat_object_of_canonical_quantities(server: Server) -> None:
    done = edge(*_on(server, 1), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert said(done) == _EXPECTED


def test_another_makers_server_gives_the_same() -> None:
    bank = DataBank(h_regs_size=0x100, i_regs_size=0x100)
    for address, word in float_words(SDM630).items():
        bank.set_input_registers(address, [word])
    peer = ModbusServer("127.0.0.1", free_port(), no_block=True, data_bank=bank)
    peer.start()
    try:
        done = edge(*_on(peer, 1), "--json")  # type: ignore[arg-type]
    finally:
        peer.stop()
    assert said(done) == _EXPECTED


def test_the_table_has_units_and_says_whose_values_they_are(server: Server) -> None:
    lines = inside(*_on(server, 1)).stdout.splitlines()
    assert lines[0].startswith(f"127.0.0.1:{server.port} unit 1: Eastron SDM630")
    assert ["voltage_l1_v", "230.10", "V"] in [line.split() for line in lines]
    assert ["power_factor", "0.980"] in [line.split() for line in lines]


def test_what_the_meter_does_not_have_is_absent_and_named(server: Server) -> None:
    """E6: a NaN is no 0."""
    done = inside(*_on(server, 3), "--json")
    assert said(done) == {name: value for name, value in _EXPECTED.items() if name != "power_factor"}
    assert f"127.0.0.1:{server.port} unit 3: power_factor absent: nan, the meter has no value" in done.stderr


def test_explain_shows_address_words_type_scale_and_value(server: Server) -> None:
    done = inside(*_on(server, 3), "--json", "--explain")
    rows = {line.split()[0]: line for line in done.stderr.splitlines() if line}
    assert said(done)["energy_import_wh"] == 12345678
    assert rows["energy_import_wh"].split() == [
        *("energy_import_wh", "4:0x0048", "4640", "e6b6", "float32", "big"),
        *("12345.6777", "x", "1000", "12345678", "Wh"),
    ]
    assert "absent: nan" in rows["power_factor"]


def test_words_in_another_order_are_noticed_by_the_voltages(server: Server) -> None:
    """E8: a wrong word order tells itself."""
    done = inside(*_on(server, 2), "--json")
    assert 'it would make sense with word_order = "little"' in done.stderr


def test_another_models_map_is_noticed(server: Server) -> None:
    done = inside(*_on(server, 1, "janitza-umg604"), "--json")
    assert done.returncode == 0
    assert "no grid has that; another model?" in done.stderr


def test_reading_goes_on_at_an_interval_until_it_is_stopped(server: Server) -> None:
    command = [sys.executable, "-m", "edge", *_on(server, 1), "--json", "--every", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        objects = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(10) == 0
    assert objects == [_EXPECTED] * 3


def test_a_unit_that_is_not_there_ends_with_where_and_what_to_do(server: Server) -> None:
    done = inside(*_on(server, 9), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"127.0.0.1:{server.port} unit 9: exception")
    assert "segs-edge scan" in done.stderr


def test_an_endpoint_that_refuses_ends_with_where_and_what_to_do() -> None:
    port = free_port()
    done = inside("read", "--host", "127.0.0.1", "--port", str(port), "--unit", "1", "--profile", "abb-b23", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{port} cannot be reached" in done.stderr
    assert "check host and port" in done.stderr


def test_an_endpoint_that_never_answers_ends_after_one_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        done = inside(
            *("read", "--host", "127.0.0.1", "--port", str(port), "--unit", "1", "--profile", "eastron-sdm630"),
            *("--timeout", "0.2", "--json"),
        )
        mute.settimeout(0)
        connections = _accepted(mute)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no reply within 0.2 s; check the unit's address" in done.stderr
    assert connections == 1


def _accepted(server: socket.socket) -> int:
    count = 0
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


def test_a_connection_that_closes_at_once_is_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:
        port = rude.getsockname()[1]

        def close() -> None:
            for _ in range(3):
                rude.accept()[0].close()

        threading.Thread(target=close, daemon=True).start()
        done = inside(
            "read", "--host", "127.0.0.1", "--port", str(port), "--unit", "1", "--profile", "abb-b23", "--json"
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{port} unit 1: connection lost" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "eastron-sdm63", "--host", "h"], "did you mean 'eastron-sdm630'?"),
        (["--profile", "tasmota", "--host", "h"], "that meter publishes over MQTT"),
        (["--profile", "abb-b23"], "name the line by --host"),
        (["--profile", "abb-b23", "--host", "h", "--serial", "/dev/x"], "a line is one of them"),
        (["--profile", "abb-b23", "--serial", "/dev/x", "--port", "502"], "are of TCP"),
        (["--profile", "abb-b23", "--host", "h", "--ca-file", "x"], "go with --tls"),
        (["--profile", "abb-b23", "--serial", "/dev/x", "--unit", "0"], "on an RTU line a meter has one of 1 to 247"),
        (["--profile", "abb-b23", "--host", "h", "--framing", "rtu", "--unit", "248"], "one of 1 to 247"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(arguments: list[str], words: str) -> None:
    done = inside("read", "--unit", "1", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_nothing_that_a_meter_says_of_itself_moves_the_cursor() -> None:
    name = b"B23\x1b[2J\n312"
    bank = DataBank(h_regs_size=0x9000)
    bank.set_holding_registers(0x8960, struct.unpack(">6H", name.ljust(12, b"\0")))
    peer = ModbusServer("127.0.0.1", free_port(), no_block=True, data_bank=bank)
    peer.start()
    try:
        done = inside(*_on(peer, 1, "abb-b23"))  # type: ignore[arg-type]
    finally:
        peer.stop()
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "312, " in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("redirect", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_an_output_that_cannot_be_written_is_no_traceback(server: Server, redirect: str, reason: str) -> None:
    for command in (["--help"], ["profiles"], [*_on(server, 1), "--json"]):
        text = shlex.join([sys.executable, "-m", "edge", *command])
        done = subprocess.run(["bash", "-c", text + redirect], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (1, f"standard output: {reason}; not everything could be shown\n")


def test_a_serial_line_that_is_not_there_says_what_to_check() -> None:
    done = inside("read", "--serial", "/dev/serial/by-id/none", "--unit", "1", "--profile", "abb-b23")
    assert done.returncode == 1
    assert "/dev/serial/by-id/none cannot be opened" in done.stderr
    assert "a running segs-edge" in done.stderr


@pytest.mark.parametrize("transport", ["tls", "rtu-over-tcp", "rtu"])
def test_a_meter_is_read_over_every_kind_of_line(
    transport: str, tmp_path: Path, start_simulator: Callable[[str], Simulator]
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = authority.issue_cert("meters.example")
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    place = f'pty = "{tmp_path}/tty"' if transport == "rtu" else "port = 0"
    fleet = f'[[modbus]]\ntransport = "{transport}"\n{place}\n'
    if transport == "tls":
        fleet += f'tls = {{ certificate_file = "{tmp_path}/server.pem", key_file = "{tmp_path}/server.key" }}\n'
    [port] = start_simulator(fleet + _METER).ready()["modbus_ports"]  # type: ignore[misc]
    where = {
        "rtu": ["--serial", f"{tmp_path}/tty"],
        "rtu-over-tcp": ["--host", "127.0.0.1", "--port", str(port), "--framing", "rtu"],
        "tls": [
            *("--host", "127.0.0.1", "--port", str(port), "--tls", "--ca-file", f"{tmp_path}/ca.pem"),
            *("--server-name", "meters.example"),
        ],
    }[transport]
    done = inside("read", *where, "--unit", "7", "--profile", "eastron-sdm630", "--json")
    assert done.returncode == 0, done.stderr
    assert len(said(done)) == len(_EXPECTED)
    assert 215 < said(done)["voltage_l1_v"] < 245


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, start_simulator: Callable[[str], Simulator]
) -> None:
    server = trustme.CA().issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    fleet = '[[modbus]]\ntransport = "tls"\nport = 0\n'
    fleet += f'tls = {{ certificate_file = "{tmp_path}/server.pem", key_file = "{tmp_path}/server.key" }}\n'
    [port] = start_simulator(fleet + _METER).ready()["modbus_ports"]  # type: ignore[misc]
    where = ["--host", "127.0.0.1", "--port", str(port), "--tls", "--unit", "7"]
    done = inside("read", *where, "--profile", "eastron-sdm630", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "its certificate is not accepted" in done.stderr
    none = inside("read", *where, "--ca-file", str(tmp_path / "none.pem"), "--profile", "eastron-sdm630")
    assert none.returncode == 1
    assert f"{tmp_path}/none.pem: No such file or directory" in none.stderr
