"""`segs-edge scan`: who is on a line, on servers that are not ours and on the simulator as a process."""

import os
import shlex
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.profiles import catalog
from edge.tools import options
from edge.tools.fragment import write
from edge.tools.lines.finder import Found
from edge.tools.scan import _mark_copies
from peers import libmodbus
from peers.errors import PeerUnavailable
from tests.integration.edge.tools import SDM630, Server, edge, float_words, inside, said
from tests.integration.simulator.conftest import Simulator, start_simulator

__all__ = ["start_simulator"]


def _scan(port: int, units: str, *more: str) -> Any:
    return inside("scan", "--host", "127.0.0.1", "--port", str(port), "--units", units, "--json", *more)


def test_the_units_of_an_endpoint_are_found_and_recognised(start_simulator: Callable[[str], Simulator]) -> None:
    models = {1: "eastron-sdm630", 2: "abb-b23", 4: "schneider-iem3155", 7: "carlo-gavazzi-em340", 9: "sunspec-203"}
    fleet = '[[modbus]]\ntransport = "tcp"\nport = 0\n'
    for unit, model in models.items():
        fleet += f'[[modbus.meter]]\nname = "m{unit}"\nmodel = "{model}"\nunit = {unit}\n'
    [port] = start_simulator(fleet).ready()["modbus_ports"]  # type: ignore[misc]
    done = _scan(port, "1-10", "--timeout", "0.1")
    found = {item["unit"]: item for item in said(done)}
    assert {unit: item["model"] for unit, item in found.items()} == {**models, 9: "sunspec"}
    assert {item["how"] for item in found.values()} == {"probe", "sunspec"}
    assert found[1]["maker"] == "Eastron"
    assert found[2]["identity"]["serial_number"]
    assert all(215 < item["voltages"]["voltage_l1_v"] < 245 for item in found.values())


def test_without_a_mark_the_model_is_inferred_and_said_to_be() -> None:
    """E8: volts and hertz tell the map, and the words' order."""
    swapped = float_words({0x00: 230.1, 0x02: 231.2, 0x04: 229.9, 0x46: 50.02}, swapped=True)
    with Server({1: float_words(SDM630), 5: swapped, 6: {}}) as server:
        done = _scan(server.port, "1-7")
    found = {item["unit"]: item for item in said(done)}
    assert list(found) == [1, 5, 6]
    assert (found[1]["model"], found[1]["how"]) == ("eastron-sdm630", "physics")
    assert "would fit as well" in found[1]["warnings"][0]
    assert found[5]["model"] is None
    assert any("eastron-sdm630" in hint and 'word_order = "little"' in hint for hint in found[5]["hints"])
    assert any("float32, words little first: 230.1 at 4:0x0000" in hint for hint in found[5]["hints"])
    assert (found[6]["model"], found[6]["hints"]) == (None, [])


class _Gateway:
    """A Modbus TCP gateway in front of one live unit: for the others it says 0x0B, or with `mute` nothing at all.

    Asked for a unit beyond `last` it hangs up and is gone.
    """

    def __init__(self, live: int, *, mute: bool = False) -> None:
        self._live, self._mute, self.last = live, mute, 255
        self.asked: list[int] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> "_Gateway":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while len(head := connection.recv(12)) == 12:
                transaction, _, _, unit, function, _, _ = struct.unpack(">HHHBBHH", head)
                self.asked.append(unit)
                if unit > self.last:
                    # Closing alone would leave the accept that is under way.
                    self._server.shutdown(socket.SHUT_RDWR)
                    self._server.close()
                    return
                if unit != self._live and self._mute:
                    continue
                code = 2 if unit == self._live else 0x0B
                connection.sendall(struct.pack(">HHHBBB", transaction, 0, 3, unit, function | 0x80, code))


def test_a_gateway_that_says_so_of_missing_units_is_believed() -> None:
    with _Gateway(live=3) as gateway:
        found = said(_scan(gateway.port, "1-6"))
    assert [item["unit"] for item in found] == [3]
    assert [gateway.asked.count(unit) for unit in (1, 2, 4, 5, 6)] == [1, 1, 1, 1, 1]


def test_a_dead_unit_costs_one_request() -> None:
    with _Gateway(live=2, mute=True) as gateway:
        started_s = time.monotonic()
        found = said(_scan(gateway.port, "1-4", "--timeout", "0.1"))
        took_s = time.monotonic() - started_s
    assert [item["unit"] for item in found] == [2]
    assert [gateway.asked.count(unit) for unit in (1, 3, 4)] == [1, 1, 1]
    assert took_s < 20


def test_nobody_there_is_said_with_what_to_try() -> None:
    with _Gateway(live=200) as gateway:
        done = _scan(gateway.port, "1-3")
    assert (done.returncode, said(done)) == (1, [])
    assert "no unit of 1-3 answers" in done.stderr


def test_what_was_found_becomes_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    with Server({1: float_words(SDM630), 2: {}}) as server:
        done = _scan(server.port, "1-2", "--write-config", str(file))
        assert done.returncode == 0, done.stderr
        checked = edge("check-config", str(file))
        assert checked.stdout == f"{file}: good, 1 meters\n"
        assert '# profile = "one of segs-edge profiles"' in file.read_text()
        before = file.read_text()
        again = _scan(server.port, "1-2", "--write-config", str(file))
    assert again.returncode == 1
    assert f"modbus[1]: 127.0.0.1:{server.port}: already at modbus[0]" in again.stderr
    assert file.read_text() == before


def test_what_was_found_is_added_to_a_configuration_that_keeps_every_letter(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    with Server({1: float_words(SDM630)}) as server, Server({1: float_words(SDM630)}) as other:
        _scan(server.port, "1", "--write-config", str(file))
        mine = file.read_text() + "# my own remark\n"
        file.write_text(mine)
        done = _scan(other.port, "1", "--write-config", str(file))
    assert done.returncode == 0, done.stderr
    assert file.read_text().startswith(mine)
    assert edge("check-config", str(file), "--devices-csv").stdout.splitlines()[1:] == [
        "eastron-sdm630-1,eastron-sdm630,10000",
        "eastron-sdm630-1-2,eastron-sdm630,10000",
    ]


def test_a_configuration_keeps_its_rights_and_its_place_and_gets_no_line_from_a_meter(tmp_path: Path) -> None:
    real, link = tmp_path / "etc" / "gateway.toml", tmp_path / "gateway.toml"
    real.parent.mkdir()
    link.symlink_to(real)
    line = options.endpoint(host="192.0.2.10")
    assert line is not None
    write(link, line, [Found(unit=1, model="abb-b23", warnings=["two\n[uplink]"])])
    os.chmod(real, 0o640)
    owner = (4711, 4712) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(real, *owner)
    write(link, replace(line, port=503), [Found(unit=2, model="abb-b23")])
    there = real.stat()
    assert (link.is_symlink(), there.st_mode & 0o7777, there.st_uid, there.st_gid) == (True, 0o640, *owner)
    assert "# two\\n[uplink]\n" in real.read_text()
    assert sorted(real.parent.iterdir()) == [real]


def test_a_configuration_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    done = _limited(tmp_path)
    assert done.returncode == 1, done.stderr
    assert "File too large; --write-config must be where this user may write" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["gateway.toml"]


def _limited(folder: Path) -> subprocess.CompletedProcess[str]:
    """A scan that adds to a long gateway.toml where no file may pass 4 KiB."""
    file = folder / "gateway.toml"
    with Server({1: float_words(SDM630)}) as server, Server({1: float_words(SDM630)}) as other:
        _scan(server.port, "1", "--write-config", str(file))
        file.write_text(file.read_text() + "# and so on\n" * 400)
        command = ["scan", "--host", "127.0.0.1", "--port", str(other.port), "--units", "1", "--write-config"]
        text = f"ulimit -f 4; exec {shlex.join([sys.executable, '-B', '-m', 'edge', *command, str(file)])}"
        return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, check=False)


def test_units_are_found_on_a_serial_line_and_written_down_with_its_speed(
    start_simulator: Callable[[str], Simulator], tmp_path: Path
) -> None:
    pty, file = tmp_path / "tty", tmp_path / "gateway.toml"
    fleet = f'[[modbus]]\ntransport = "rtu"\npty = "{pty}"\n'
    fleet += '[[modbus.meter]]\nname = "a"\nmodel = "eastron-sdm630"\nunit = 1\n'
    fleet += '[[modbus.meter]]\nname = "b"\nmodel = "abb-b23"\nunit = 3\n'
    start_simulator(fleet).ready()
    done = inside(
        *("scan", "--serial", str(pty), "--units", "1-3", "--baud-rates", "19200", "--timeout", "0.1", "--json"),
        *("--write-config", str(file)),
    )
    assert [(item["unit"], item["baud_rate"], item["model"]) for item in said(done)] == [
        (1, 19200, "eastron-sdm630"),
        (3, 19200, "abb-b23"),
    ]
    assert f'serial = "{pty}"\nbaud_rate = 19200\n' in file.read_text()
    assert edge("check-config", str(file)).returncode == 0


def test_a_serial_line_that_somebody_holds_is_not_disturbed(
    start_simulator: Callable[[str], Simulator], tmp_path: Path
) -> None:
    import fcntl

    pty = tmp_path / "tty"
    fleet = f'[[modbus]]\ntransport = "rtu"\npty = "{pty}"\n'
    start_simulator(fleet + '[[modbus.meter]]\nname = "a"\nmodel = "abb-b23"\nunit = 1\n').ready()
    holder = os.open(pty, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        done = inside("scan", "--serial", str(pty), "--units", "1", "--baud-rates", "9600", "--json")
    finally:
        os.close(holder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a running segs-edge or another program may hold the line" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "h", "--units", "0-300"], "each from 0 to 255"),
        (["--host", "h", "--units", "5-1"], "is no unit"),
        (["--host", "192.0.2.10:502"], "the port by --port"),
        (["--host", "[2001:db8::1]:502"], "the port by --port"),
        (["--host", "http://192.0.2.10/"], "the port by --port"),
        (["--host", ""], "the port by --port"),
        (["--host", "h", "--baud-rates", "9600"], "--serial line"),
        (["--serial", "/dev/x", "--baud-rates", "fast"], "write 9600,19200"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], words: str) -> None:
    done = inside("scan", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_an_endpoint_that_goes_away_does_not_make_its_units_missing() -> None:
    """What was found is shown, and that the rest was not looked at."""
    gateway = _Gateway(live=1)
    with gateway:
        gateway.last = 2
        done = _scan(gateway.port, "1-5")
    assert done.returncode == 1
    assert [item["unit"] for item in said(done)] == [1]
    assert "cannot be reached" in done.stderr
    assert "what is shown is what was found before" in done.stderr


def test_an_endpoint_of_another_protocol_is_told_by_what_it_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_greet, args=(server,), daemon=True).start()
        done = _scan(server.getsockname()[1], "1-2", "--timeout", "0.1")
    assert (done.returncode, said(done)) == (1, [])
    assert "what comes is no Modbus reply: 53 53 48 2d" in done.stderr
    assert "'SSH-2.0-Open'" in done.stderr
    assert "check that this is its Modbus port" in done.stderr


def _greet(server: socket.socket) -> None:
    """As an SSH server does, whoever comes."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            while connection.recv(100):
                pass


def test_models_with_a_mark_are_named_on_libmodbus() -> None:
    """Its table ends at 9,999: the marks of others lie beyond."""
    try:
        libmodbus.program("server")
    except PeerUnavailable as missing:
        pytest.skip(str(missing))
    names = ("carlo-gavazzi-em340", "carlo-gavazzi-em24-e1")
    for name in names:
        profile = catalog.modbus(name)
        words = {row.address: 0 for row in profile.registers}
        words |= {probe.address: int(probe.one_of[0]) for probe in profile.probe if probe.one_of}
        registers = {(table, address): word for table in (3, 4) for address, word in words.items()}
        with libmodbus.tcp_server(registers=registers) as [port]:
            [found] = said(_scan(port, "1"))
        assert (found["model"], found["how"]) == (name, "probe")


def test_an_endpoint_that_answers_for_any_address_is_noticed() -> None:
    with Server({1: float_words(SDM630), 4: float_words(SDM630)}) as server:
        found = said(_scan(server.port, "1,4"))
    warned = [any("same voltages as unit 1" in warning for warning in item["warnings"]) for item in found]
    assert warned == [False, True]


def test_meters_without_a_serial_number_are_not_one_meter() -> None:
    zero = {"serial_number": "0"}
    found = [Found(unit=1, identity=zero, voltages={"voltage_l1_v": 230.1}), Found(unit=2, identity=zero)]
    _mark_copies(found)
    assert [item.warnings for item in found] == [[], []]
