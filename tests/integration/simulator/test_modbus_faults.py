"""Faults of Modbus meters, as a socket sees them."""

import itertools
import math
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyModbusTCP.client import ModbusClient

from firmware_sim.modbus.framing import crc, valid
from tests.integration.simulator.conftest import Simulator

# Every meter but the last has one fault from the start; units count from 1.
FAULTS = {
    "timeout": "",
    "delay": "delay_s = 0.3",
    "late": "delay_s = 0.3\ntimes = 1",
    "wrong-unit": "",
    "wrong-transaction": "",
    "truncate": "bytes = 9",
    "garbage": "bytes = 11",
    "exception": "code = 6",
    "close": "",
    "close-after": 'how = "reply"',
    "close-amid": 'how = "mid-reply"',
    "illegal-address": 'quantity = "voltage_l2_v"',
    "nan": 'quantity = "power_w"',
    "stuck": "",
    "zero": "",
    "sound": "",
}
UNITS = {kind: unit for unit, kind in enumerate(FAULTS, 1)}
ENDPOINTS = ("sound", "close-on-accept", "silent", "one-connection", "replace")
SITES = ("north.1", "north.2", "south.1")


def _meter(name: str, unit: int, fault: str = "") -> str:
    meter = f'[[modbus.meter]]\nname = "{name}"\nmodel = "eastron-sdm630"\nunit = {unit}\n'
    return meter + (f"[[modbus.meter.fault]]\n{fault}\n" if fault else "")


def _fleet() -> str:
    parts = ["seed = 7", "[[modbus]]", "port = 0"]
    for name, unit in UNITS.items():
        kind = name.removesuffix("-after").removesuffix("-amid")
        parts.append(_meter(name, unit, "" if name == "sound" else f'kind = "{kind}"\n{FAULTS[name]}'))
    for kind in ENDPOINTS[1:]:
        fault = 'kind = "one-connection"\nhow = "replace"' if kind == "replace" else f'kind = "{kind}"'
        parts += ["[[modbus]]", "port = 0", "[[modbus.fault]]", fault, _meter(f"behind-{kind}", 1)]
    for site in ("north", "south"):
        named = [name for name in SITES if name.startswith(site)]
        parts += ["[[modbus]]", "port = 0", *(_meter(name, unit) for unit, name in enumerate(named, 1))]
    parts += ["[[modbus]]", 'transport = "rtu-over-tcp"', "port = 0"]
    return "\n".join([*parts, _meter("crc", 1, 'kind = "crc"'), _meter("on-the-line", 2)])


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("faults")
    simulator = Simulator(folder, _fleet(), control=True)
    yield simulator
    simulator.process.kill()
    simulator.process.communicate()


@pytest.fixture(scope="module")
def ports(simulator: Simulator) -> dict[str, int]:
    ports = simulator.ready()["modbus_ports"]
    assert isinstance(ports, list)
    return dict(zip((*ENDPOINTS, "north", "south", "crc"), ports, strict=True))


@pytest.fixture
def line(ports: dict[str, int]) -> Iterator[socket.socket]:
    with _connected(ports["sound"]) as line:
        yield line


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _request(kind: str, address: int = 0x34, count: int = 2, *, transaction: int = 7) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, UNITS[kind], 4, address, count)


def _header(kind: str, *, transaction: int = 7, registers: int = 2) -> bytes:
    return struct.pack(">HHHBBB", transaction, 0, 3 + 2 * registers, UNITS[kind], 4, 2 * registers)


def _ask(line: socket.socket, request: bytes) -> bytes:
    line.sendall(request)
    return line.recv(512)


def _silent(line: socket.socket, timeout_s: float = 0.2) -> bool:
    line.settimeout(timeout_s)
    try:
        line.recv(1)
    except TimeoutError:
        line.settimeout(5)
        return True
    return False


def _ended(line: socket.socket) -> bool:
    try:
        return line.recv(64) == b""
    except ConnectionResetError:
        return True


def _served(simulator: Simulator, name: str) -> list[dict[str, float]]:
    return [line["values"] for line in simulator.lines() if line["meter"] == name]


def _inject(simulator: Simulator, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firmware_sim", "fault", "--control", str(simulator.control), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_meter_that_times_out_says_nothing_and_its_neighbour_answers(simulator, line: socket.socket) -> None:
    line.sendall(_request("timeout"))
    assert _silent(line)
    assert _ask(line, _request("sound")).startswith(_header("sound"))
    assert _served(simulator, "timeout") == []


def test_a_delayed_reply_is_whole_and_what_follows_waits_for_it(line: socket.socket) -> None:
    started_s = time.monotonic()
    line.sendall(_request("delay") + _request("sound", transaction=8))
    assert line.recv(13).startswith(_header("delay"))
    assert time.monotonic() - started_s >= 0.3
    assert line.recv(13).startswith(_header("sound", transaction=8))


def test_a_late_reply_comes_before_the_next_ones(simulator, line: socket.socket) -> None:
    """E4: two replies where one is waited for, and the first is the one before."""
    line.sendall(_request("late", transaction=7))
    assert _silent(line, 0.1)
    line.sendall(_request("late", transaction=8))
    received = b""
    while len(received) < 26:
        received += line.recv(64)
    assert (received[:9], received[13:22]) == (_header("late", transaction=7), _header("late", transaction=8))
    assert len(_served(simulator, "late")) == 1, "what came too late was not served"


def test_a_late_reply_that_nothing_follows_comes_by_itself(simulator, line: socket.socket) -> None:
    """E4."""
    assert _inject(simulator, "sound", "late", "--set", "delay_s=0.3", "--set", "times=1").returncode == 0
    line.sendall(_request("sound"))
    assert _silent(line, 0.1)
    assert line.recv(64).startswith(_header("sound"))


def test_a_reply_bears_another_unit_or_another_number(simulator, line: socket.socket) -> None:
    """E4."""
    assert _ask(line, _request("wrong-unit"))[6] == UNITS["wrong-unit"] + 1
    assert _ask(line, _request("wrong-transaction"))[:2] == b"\x00\x06"
    assert _served(simulator, "wrong-unit") == _served(simulator, "wrong-transaction") == []


def test_a_reply_is_cut_or_noise(simulator, line: socket.socket) -> None:
    assert _ask(line, _request("truncate")) == _header("truncate")
    noise = _ask(line, _request("garbage"))
    assert len(noise) == 11
    assert not noise.startswith(b"\x00\x07")
    assert _served(simulator, "truncate") == _served(simulator, "garbage") == []


def test_an_exception_is_the_one_that_was_asked_for(line: socket.socket) -> None:
    assert _ask(line, _request("exception")) == struct.pack(">HHHBBB", 7, 0, 3, UNITS["exception"], 0x84, 6)


def test_a_hole_in_a_block_refuses_every_block_over_it_and_no_other(line: socket.socket) -> None:
    """E2."""
    codes = [
        _ask(line, _request("illegal-address", address, count))[7:9]
        for address, count in ((0, 18), (0, 2), (2, 2), (4, 4))
    ]
    assert codes == [b"\x84\x02", b"\x04\x04", b"\x84\x02", b"\x04\x08"]


def test_a_connection_ends_on_the_request_after_the_reply_or_amid_it(ports: dict[str, int]) -> None:
    received = []
    for kind in ("close", "close-after", "close-amid"):
        with _connected(ports["sound"]) as line:
            line.sendall(_request(kind))
            data = b"" if kind == "close" else line.recv(64)
            assert _ended(line), kind
            received.append(len(data))
    assert received == [0, 13, 6]


def test_values_are_wrong_as_told_and_the_journal_says_what_was_served(simulator, line: socket.socket) -> None:
    """E6, E7: not a number, a value that stays, and a register that reads 0 once."""
    missing = _ask(line, _request("nan"))
    stuck, sound = _ask(line, _request("stuck", 0, 2)), _ask(line, _request("sound", 0, 2))
    while _ask(line, _request("sound", 0, 2)) == sound:
        time.sleep(0.05)
    still = _ask(line, _request("stuck", 0, 2))
    zero = [_ask(line, _request("zero", 0x48)) for _ in range(2)]
    assert math.isnan(struct.unpack(">f", missing[9:])[0])
    assert stuck == still
    assert zero[0][9:] == bytes(4) != zero[1][9:]
    assert _served(simulator, "nan") == []
    first, second = (values["energy_import_wh"] for values in _served(simulator, "zero"))
    assert (first, second) == (0, struct.unpack(">f", zero[1][9:])[0] * 1000)


def test_pymodbustcp_sees_the_faults_for_what_they_are(ports: dict[str, int]) -> None:
    seen = {}
    for kind in ("timeout", "exception", "truncate", "sound"):
        client = ModbusClient(host="127.0.0.1", port=ports["sound"], unit_id=UNITS[kind], timeout=0.3)
        seen[kind] = (client.read_input_registers(0x34, 2) is not None, client.last_except)
        client.close()
    assert seen == {"timeout": (False, 0), "exception": (False, 6), "truncate": (False, 0), "sound": (True, 0)}


def test_an_endpoint_closes_what_it_accepts_or_never_answers(ports: dict[str, int]) -> None:
    with _connected(ports["close-on-accept"]) as line:
        assert _ended(line)
    with _connected(ports["silent"]) as line:
        line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0, 2))
        assert _silent(line)


def test_an_endpoint_with_one_connection_refuses_the_second_or_drops_the_first(ports: dict[str, int]) -> None:
    """E10."""
    request = struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0, 2)
    for kind, survivor in (("one-connection", 0), ("replace", 1)):
        with _connected(ports[kind]) as first:
            assert len(_ask(first, request)) == 13
            with _connected(ports[kind]) as second:
                lines = [first, second]
                assert _ended(lines.pop(1 - survivor)), kind
                assert len(_ask(lines[0], request)) == 13, kind


def test_a_wrong_crc_is_wrong_and_a_missing_unit_silent_on_rtu(ports: dict[str, int]) -> None:
    with _connected(ports["crc"]) as line:
        replies = []
        for unit in (1, 2):
            body = struct.pack(">BBHH", unit, 4, 0x34, 2)
            replies.append(_ask(line, body + crc(body)))
        body = struct.pack(">BBHH", 9, 4, 0x34, 2)
        line.sendall(body + crc(body))
        assert _silent(line)
    assert [(len(reply), valid(reply)) for reply in replies] == [(9, False), (9, True)]


def test_an_endpoint_refuses_for_a_while_and_comes_back(simulator, ports: dict[str, int], line: socket.socket) -> None:
    """E11."""
    assert _inject(simulator, "sound", "refuse", "--for", "3s").returncode == 0
    assert _ended(line)
    with pytest.raises(ConnectionRefusedError):
        _connected(ports["sound"])
    deadline_s = time.monotonic() + 20
    for pause_s in itertools.repeat(0.05):
        assert time.monotonic() < deadline_s
        try:
            with _connected(ports["sound"]) as again:
                assert len(_ask(again, _request("sound"))) == 13
            break
        except ConnectionRefusedError:
            time.sleep(pause_s)


def _power_w(port: int, unit: int) -> float:
    with _connected(port) as line:
        line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, unit, 4, 0x34, 2))
        return struct.unpack(">f", line.recv(64)[9:])[0]


def _answering(ports: dict[str, int]) -> list[str]:
    """Those of the sites that say something."""
    answering = []
    for name in SITES:
        with _connected(ports[name.partition(".")[0]]) as line:
            line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, int(name[-1]), 4, 0x34, 2))
            if not _silent(line):
                answering.append(name)
    return answering


@pytest.mark.parametrize(
    ("addressed", "left"),
    [("north.1", ["north.2", "south.1"]), ("north.*", ["south.1"]), ("*.1", ["north.2"]), ("*.?", [])],
)
def test_one_meter_of_a_site_all_of_it_or_all_sites_fall_silent(
    simulator, ports: dict[str, int], addressed: str, left: list[str]
) -> None:
    """E1: by one command, and their neighbours behind the same endpoint answer."""
    assert _inject(simulator, addressed, "mute").returncode == 0
    assert _answering(ports) == left
    assert _inject(simulator, addressed, "none").returncode == 0
    assert _answering(ports) == list(SITES)


def test_a_fault_of_an_endpoint_that_several_meters_share_is_one_fault(simulator, ports: dict[str, int]) -> None:
    """And where one meter refuses it happens to none."""
    assert _inject(simulator, "north.*", "silent").returncode == 0
    assert _answering(ports) == ["south.1"]
    assert _inject(simulator, "north.2", "none").returncode == 0
    assert _answering(ports) == list(SITES)
    done = _inject(simulator, "*", "crc")
    assert (done.returncode, "timeout: Modbus TCP has no CRC; use transport rtu" in done.stderr) == (1, True)


def test_a_fault_of_the_grid_befalls_all_meters_of_a_site_at_once(simulator, ports: dict[str, int]) -> None:
    assert _inject(simulator, "north.*", "overload", "--set", "w=7000").returncode == 0
    told = [_power_w(ports["north"], 1), _power_w(ports["north"], 2), _power_w(ports["south"], 1)]
    assert [6_900 < watts < 7_100 for watts in told] == [True, True, False]
    assert _inject(simulator, "north.*", "none").returncode == 0
    assert _power_w(ports["north"], 1) < 6_000


def test_a_meter_is_exchanged_while_it_is_read(simulator, line: socket.socket) -> None:
    """E7."""

    def serial() -> bytes:
        return _ask(line, struct.pack(">HHHBBHH", 7, 0, 6, UNITS["sound"], 3, 0xFC00, 2))[9:]

    before = serial()
    assert _inject(simulator, "sound", "exchange", "--set", "wh=5000").returncode == 0
    energy_wh = struct.unpack(">f", _ask(line, _request("sound", 0x48))[9:])[0] * 1000
    assert before != serial()
    assert 5000 <= energy_wh < 5100
    assert _served(simulator, "sound")[-1]["energy_import_wh"] == energy_wh
    assert _inject(simulator, "sound", "none").returncode == 0
    assert before == serial()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("soud", "timeout"), "no such meter; name one of sound, "),
        (("soudn", "none"), "no such meter; name one of sound, "),
        (("nroth.*", "timeout"), "no such meter; name one of north."),
        (("north.?", "phase-loss", "--set", "phase=4"), "phase is 4; input should be less than or equal to 3"),
        (("sound", "tired"), "there is no 'tired'; use one of timeout, "),
        (("sound", "crc"), "Modbus TCP has no CRC; use transport rtu or rtu-over-tcp"),
        (("sound", "exception", "--set", "code=300"), "code is 300; input should be less than or equal to 127"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(simulator, ports, arguments: tuple[str, ...], message: str) -> None:
    done = _inject(simulator, *arguments)
    assert done.returncode == 1
    assert message in done.stderr


def _tell(simulator: Simulator, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(simulator.control))
        line.sendall(data)
        return line.recv(4096)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\xff\xfe\n", b"not JSON"),
        (b"[" * 60_000 + b"\n", b"not JSON"),
        (b'{"meter": []}\n', b"no such meter"),
        (b'{"meter": "sound", "fault": {"kind": "stuck", "quantity": "power"}}\n', b"use one of power_w, power_l1_w"),
        (b'{"meter": "sound"}\n', b"fault is None"),
        (b'{"meter": "sound", "fault": {"kind": "zero", "every_s": 1e-9, "for_s": 1e-10}}\n', b"every_s is 1e-09"),
        (b'{"meter": "sound", "fault": {"kind": "exchange", "wh": 1' + b"0" * 400 + b"}}\n", b"wh is 1"),
        (b'{"meter": "sound", "fault": {"kind": "wrong-transaction", "offset": 65536}}\n', b"right transaction"),
        (b"x" * 200_000 + b"\n", b""),
    ],
)
def test_nonsense_on_the_control_socket_is_answered_and_does_no_harm(
    simulator, line: socket.socket, data: bytes, answer: bytes
) -> None:
    try:
        answered = _tell(simulator, data)
    except ConnectionError:
        answered = b""
    assert answer in answered
    assert len(_ask(line, _request("sound"))) == 13
    assert simulator.process.poll() is None


def test_the_control_socket_of_a_simulator_that_runs_is_not_taken_over(simulator, ports, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text("[[modbus]]\nport = 0\n" + _meter("a", 1))
    command = [sys.executable, "-m", "firmware_sim", "run", str(fleet)]
    done = subprocess.run(
        [*command, "--control", str(simulator.control)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "another simulator listens there; stop it, or choose another --control path" in done.stderr
    assert _inject(simulator, "sound", "none").returncode == 0


def test_nobody_else_may_break_the_meters(simulator, ports) -> None:
    assert simulator.control.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("kind", "told"), [("wrong-unit", "unit"), ("truncate", "bytes")])
def test_a_reply_is_written_down_exactly_when_it_is_whole(simulator, line: socket.socket, kind: str, told: str) -> None:
    """A reply that bears the meter's own address is right; one that is cut is cut, whatever its length."""
    value = UNITS["sound"] if told == "unit" else 512
    before = len(_served(simulator, "sound"))
    assert _inject(simulator, "sound", kind, "--set", f"{told}={value}").returncode == 0
    reply = _ask(line, _request("sound"))
    assert _inject(simulator, "sound", "none").returncode == 0
    assert len(reply) == (13 if kind == "wrong-unit" else 12)
    assert len(_served(simulator, "sound")) - before == (kind == "wrong-unit")


def test_late_replies_come_each_at_its_own_time(simulator, ports: dict[str, int]) -> None:
    """E1: the later one may come first."""
    with _connected(ports["sound"]) as line:
        for number, delay_s in enumerate((60, 0.05), 1):
            assert _inject(simulator, "sound", "late", "--set", f"delay_s={delay_s}").returncode == 0
            line.sendall(struct.pack(">HHHBBHH", number, 0, 6, UNITS["sound"], 4, 0x34, 2))
            first = line.recv(13) if number == 2 else b""
            assert _inject(simulator, "sound", "none").returncode == 0
        assert first[:2] == b"\0\2"
        assert _ask(line, _request("sound"))[:2] == b"\0\1"


def test_a_command_to_nobody_says_how_to_start_somebody(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "firmware_sim", "fault", "--control", str(tmp_path / "absent"), "m", "timeout"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "absent: No such file or directory; start the simulator with --control" in done.stderr


def test_the_list_of_faults_names_every_kind_that_was_shown_here() -> None:
    done = subprocess.run([sys.executable, "-m", "firmware_sim", "faults"], capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    shown = {name.removesuffix("-after").removesuffix("-amid") for name in FAULTS} - {"sound"}
    assert shown | {"close-on-accept", "silent", "one-connection", "crc", "refuse", "exchange"} <= listed
