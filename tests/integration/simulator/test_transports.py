"""The transports of Modbus meters, used by clients that are not ours: pymodbus, openssl's TLS."""

import asyncio
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from firmware_sim.errors import EndpointError
from firmware_sim.faults.faults import Faults
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.modbus.framing import TcpFraming, crc
from firmware_sim.modbus.pty import PtyEndpoint
from firmware_sim.modbus.tcp import TcpEndpoint
from firmware_sim.modbus.unit import Unit, Units
from firmware_sim.register_map import BitMap, RegisterMap
from firmware_sim.registers import integer
from tests.integration.simulator.conftest import Simulator

METERS = """
[[modbus.meter]]
name = "sdm{n}"
model = "eastron-sdm630"
unit = 1
[[modbus.meter]]
name = "abb{n}"
model = "abb-b23"
unit = 2
pv_peak_w = 4000
"""


def _float32(registers: list[int]) -> float:
    value: float = struct.unpack(">f", struct.pack(">2H", *registers))[0]
    return value


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "meter.crt", folder / "meter.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=meter", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", str(files[0]), "-keyout", str(files[1])], check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("transports")
    fleet = [
        "seed = 7",
        f'[[modbus]]\ntransport = "rtu"\npty = "{folder}/line"\n{METERS.format(n=1)}',
        f'[[modbus]]\ntransport = "rtu"\npty = "{folder}/slow"\nbaud_rate = 9600\n{METERS.format(n=2)}',
        f'[[modbus]]\ntransport = "rtu"\npty = "{folder}/touchy"\nsilence_ms = 150\n{METERS.format(n=3)}',
        f'[[modbus]]\ntransport = "rtu-over-tcp"\nport = 0\n{METERS.format(n=4)}',
        f'[[modbus]]\ntransport = "tls"\nport = 0\n[modbus.tls]\ncertificate_file = "{certificate[0]}"\n'
        f'key_file = "{certificate[1]}"\n{METERS.format(n=5)}',
    ]
    simulator = Simulator(folder, "\n".join(fleet))
    simulator.ports = simulator.ready()["modbus_ports"]
    simulator.folder = folder
    yield simulator
    assert simulator.stop() == (0, "")
    assert not (folder / "line").is_symlink(), "the link outlived its terminal"


def _serial(simulator: Simulator, name: str, baud_rate: int = 9600) -> ModbusSerialClient:
    return ModbusSerialClient(str(simulator.folder / name), baudrate=baud_rate, timeout=1, retries=0)


def _last(simulator: Simulator, name: str) -> dict[str, float]:
    served: dict[str, float] = [line["values"] for line in simulator.lines() if line["meter"] == name][-1]
    return served


def test_pymodbus_reads_two_units_over_a_pseudo_terminal(simulator: Simulator) -> None:
    with _serial(simulator, "line") as client:
        eastron = client.read_input_registers(0x34, count=28, device_id=1).registers
        abb = client.read_holding_registers(0x5B00, count=64, device_id=2).registers
    assert _last(simulator, "sdm1")["power_w"] == _float32(eastron[:2])
    assert _last(simulator, "abb1")["frequency_hz"] == abb[0x2C] / 100


def test_a_line_of_9600_baud_takes_the_time_of_its_characters(simulator: Simulator) -> None:
    """Request 8 and reply 65 characters of 11 bits: 84 ms at least, however fast the machine."""
    with _serial(simulator, "slow") as client:
        started_s = time.monotonic()
        for _ in range(3):
            assert len(client.read_input_registers(0, count=30, device_id=1).registers) == 30
    assert time.monotonic() - started_s >= 3 * (8 + 65) * 11 / 9600


def test_who_speaks_at_another_speed_is_not_understood(simulator: Simulator) -> None:
    with _serial(simulator, "slow", baud_rate=19_200) as client, pytest.raises(ModbusIOException, match="No response"):
        client.read_input_registers(0, count=2, device_id=1)


def test_on_a_line_a_missing_unit_and_a_broadcast_are_silent_and_a_wrong_crc_is_not_heard(simulator: Simulator) -> None:
    """E1: on RTU nobody says that a unit is missing; it takes a time-out."""
    requests = [struct.pack(">BBHH", unit, 4, 0, 2) for unit in (9, 0)]
    spoilt = struct.pack(">BBHH", 1, 4, 0, 2) + b"\x00\x00"
    with _raw_line(simulator.folder / "line") as ask:
        assert [ask(request + crc(request)) for request in requests] == [b"", b""]
        assert ask(spoilt) == b""
        sound = struct.pack(">BBHH", 1, 4, 0, 2)
        assert ask(sound + crc(sound))[:3] == b"\x01\x04\x04"


def test_a_meter_that_is_asked_too_soon_does_not_answer(simulator: Simulator) -> None:
    """E9."""
    request = struct.pack(">BBHH", 1, 4, 0, 2)
    request += crc(request)
    with _raw_line(simulator.folder / "touchy") as ask:
        assert len(ask(request)) == 9
        assert ask(request) == b""
        time.sleep(0.2)
        assert len(ask(request)) == 9


def test_pymodbus_reads_rtu_frames_over_tcp(simulator: Simulator) -> None:
    with ModbusTcpClient("127.0.0.1", port=simulator.ports[3], framer=FramerType.RTU) as client:
        registers = client.read_input_registers(0x34, count=2, device_id=1).registers
    assert _last(simulator, "sdm4")["power_w"] == _float32(registers)


def test_a_tls_socket_reads_modbus_tcp_inside(simulator: Simulator, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    port = simulator.ports[4]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as line,
    ):
        line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0x34, 2))
        reply = line.recv(64)
    assert reply[:9] == struct.pack(">HHHBBB", 7, 0, 7, 1, 4, 4)
    assert _last(simulator, "sdm5")["power_w"] == struct.unpack(">f", reply[9:])[0]


@contextmanager
def _raw_line(path: Path) -> Iterator[Callable[[bytes], bytes]]:
    """Opens a terminal and gives `ask(request)`: the bytes that come within 0.1 s, or up to a pause of 20 ms."""
    file = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def ask(request: bytes) -> bytes:
        os.write(file, request)
        received = b""
        while select.select([file], [], [], 0.02 if received else 0.1)[0]:
            received += os.read(file, 512)
        return received

    try:
        tty.setraw(file)
        yield ask
    finally:
        os.close(file)


async def test_writes_are_taken_where_the_model_says_and_read_back(tmp_path: Path) -> None:
    """Function 5, 6, 15 and 16, by pymodbus over TCP and over a line."""
    table = RegisterMap(
        functions=(3, 4),
        areas=[range(0x20)],
        registers=[integer(0x00, "frequency_hz", words=1, per_unit=100)],
        writable=[range(0x10, 0x14)],
        others=[BitMap(functions=(1,), areas=[range(16)], bits={2: lambda _: True}, writable=[range(4)])],
    )

    def bus() -> Units:
        meter = Meter(seed=7, name="m", peak_w=6000)
        faults = Faults(seed=7, name="m")
        return Units({1: Unit(number=1, meter=meter, registers=table, journal=Journal(None), faults=faults)})

    faults = Faults(seed=7, name="endpoint")
    tcp = TcpEndpoint(host="127.0.0.1", port=0, bus=bus(), framing=TcpFraming, faults=faults)
    line = PtyEndpoint(path=tmp_path / "line", bus=bus())
    async with tcp, line:
        for client in (
            ModbusTcpClient("127.0.0.1", port=tcp.port or 0),
            ModbusSerialClient(str(tmp_path / "line"), timeout=2, retries=0),
        ):
            assert await asyncio.to_thread(_write, client) == [
                (True, [0, 7, 8, 9]),
                (True, [True, False, True, True]),
                (2, 2, 2),
            ]


def _write(client: ModbusTcpClient | ModbusSerialClient) -> list[tuple[object, ...]]:
    with client:
        one = client.write_register(0x11, 7, device_id=1)
        many = client.write_registers(0x12, [8, 9], device_id=1)
        registers = client.read_holding_registers(0x10, count=4, device_id=1).registers
        coil = client.write_coil(0, True, device_id=1)
        coils = client.write_coils(2, [True, True], device_id=1)
        bits = client.read_coils(0, count=4, device_id=1).bits[:4]
        refused = (
            client.write_register(0x00, 1, device_id=1).exception_code,
            client.write_registers(0x13, [1, 2], device_id=1).exception_code,
            client.write_coil(4, True, device_id=1).exception_code,
        )
    accepted = [not any(reply.isError() for reply in replies) for replies in ((one, many), (coil, coils))]
    return [(accepted[0], registers), (accepted[1], bits), refused]


async def test_a_line_that_another_took_over_is_left_to_it(tmp_path: Path) -> None:
    path, units = tmp_path / "tty", Units({})
    async with PtyEndpoint(path=path, bus=units):
        first = os.readlink(path)
        other = PtyEndpoint(path=path, bus=units)
        await other.__aenter__()
    try:
        assert first != os.readlink(path)
    finally:
        await other.__aexit__(None, None, None)
    assert not path.is_symlink()


async def test_a_link_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    path, file = tmp_path / "tty", tmp_path / "mine"
    file.write_text("mine")
    path.symlink_to(file)
    with pytest.raises(EndpointError, match="File exists; choose another path"):
        async with PtyEndpoint(path=path, bus=Units({})):
            pass
    assert path.read_text() == "mine"
    file.unlink()
    async with PtyEndpoint(path=path, bus=Units({})):
        assert os.readlink(path).startswith("/dev/pts/"), "a link to nothing was left behind"
