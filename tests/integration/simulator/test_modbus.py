"""The Modbus meters, read by implementations that have nothing to do with ours: pymodbus, pyModbusTCP."""

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from pyModbusTCP.client import ModbusClient

from firmware_sim.faults.faults import Faults
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.modbus.unit import Unit
from firmware_sim.models import MODBUS_MODELS

FLEET = """
seed = 7
[[modbus]]
port = 0
[[modbus.meter]]
name = "sdm"
model = "eastron-sdm630"
unit = 1
[[modbus.meter]]
name = "abb"
model = "abb-b23"
unit = 2
pv_peak_w = 4000
[[modbus.meter]]
name = "iem"
model = "schneider-iem3155"
unit = 3
"""
# 2026-03-01T12:00:00Z
START_US = 1_772_366_400 * 10**6


@pytest.fixture
def simulator(start_simulator):
    return start_simulator(FLEET)


@pytest.fixture
def port(simulator) -> int:
    return simulator.ready()["modbus_ports"][0]


@pytest.fixture
def client(port: int) -> Iterator[ModbusTcpClient]:
    with ModbusTcpClient("127.0.0.1", port=port) as client:
        yield client


def _hung_up(line: socket.socket) -> bool:
    try:
        return line.recv(64) == b""
    except ConnectionResetError:
        return True


def _float32(registers: list[int]) -> float:
    value: float = struct.unpack(">f", struct.pack(">2H", *registers))[0]
    return value


def test_pymodbus_reads_what_the_journal_says_was_served(simulator, client: ModbusTcpClient) -> None:
    eastron = client.read_input_registers(0x34, count=28, device_id=1).registers
    abb = client.read_holding_registers(0x5B00, count=64, device_id=2).registers
    schneider = client.read_holding_registers(0x0C83, count=4, device_id=3).registers
    first, second, third = (line["values"] for line in simulator.lines())
    assert first["power_w"] == _float32(eastron[:2])
    assert first["energy_import_wh"] == _float32(eastron[20:22]) * 1000
    assert second["power_w"] == client.convert_from_registers(abb[0x14:0x16], client.DATATYPE.INT32) / 100
    assert second["frequency_hz"] == abb[0x2C] / 100
    assert third["energy_import_wh"] == client.convert_from_registers(schneider, client.DATATYPE.INT64)


def test_pymodbustcp_reads_what_the_journal_says_was_served(simulator, port: int) -> None:
    client = ModbusClient(host="127.0.0.1", port=port, unit_id=1, auto_open=True)
    try:
        registers = client.read_input_registers(0x00, 18)
    finally:
        client.close()
    (line,) = simulator.lines()
    assert list(line["values"].values()) == [_float32(registers[n : n + 2]) for n in range(0, 18, 2)]


@pytest.mark.parametrize(
    ("function", "address", "count", "unit", "code"),
    [
        (4, 0x0000, 2, 9, 0x0B),
        (4, 0x0000, 2, 0, 0x0B),
        (2, 0x0000, 2, 1, 0x01),
        (4, 0x5B00, 2, 2, 0x01),
        (4, 0x0200, 2, 1, 0x02),
        (3, 0x6000, 2, 2, 0x02),
        (4, 0x0000, 82, 1, 0x03),
        (3, 0x5B00, 126, 2, 0x03),
        (3, 0x5B00, 0, 2, 0x03),
    ],
)
def test_what_cannot_be_read_gets_the_exception_of_the_specification(
    port: int, function: int, address: int, count: int, unit: int, code: int
) -> None:
    """E2: the code says whether to ask for less, to ask again, or to ask somebody else."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, unit, function, address, count))
        assert line.recv(64) == struct.pack(">HHHBBB", 7, 0, 3, unit, function | 0x80, code)


def test_requests_in_pieces_and_in_one_go_are_answered_in_order_under_their_own_numbers(port: int) -> None:
    """E4: a reply names its request."""
    requests = [struct.pack(">HHHBBHH", 40 + n, 0, 6, 1, 4, 2 * n, 2) for n in range(3)]
    stream = b"".join(requests)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        for cut in (stream[:5], stream[5:17], stream[17:]):
            line.sendall(cut)
        received = b""
        while len(received) < 3 * 13:
            received += line.recv(64)
    assert [struct.unpack_from(">H", received, 13 * n)[0] for n in range(3)] == [40, 41, 42]


def test_a_stream_that_is_not_modbus_is_hung_up_on_and_others_are_still_answered(
    port: int, client: ModbusTcpClient
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert _hung_up(line)
    assert not client.read_input_registers(0, count=2, device_id=1).isError()


def test_a_stop_is_clean_and_leaves_a_whole_journal(simulator, client: ModbusTcpClient) -> None:
    for _ in range(20):
        client.read_input_registers(0, count=18, device_id=1)
    assert simulator.stop() == (0, "")
    assert len(simulator.lines()) == 20


def test_an_address_in_use_is_named_with_what_to_do(start_simulator: Callable[[str], object], port: int) -> None:
    second = start_simulator(FLEET.replace("port = 0", f"port = {port}"))
    _, stderr = second.process.communicate(timeout=20)
    assert second.process.returncode == 1
    assert f"127.0.0.1:{port}: " in stderr
    assert "choose a free port in the fleet file" in stderr


def test_a_journal_that_cannot_be_written_ends_the_simulator_before_it_serves(
    start_simulator: Callable[[str], object],
) -> None:
    """What is not in the journal must never be served."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    simulator = start_simulator(FLEET)
    port = simulator.ready()["modbus_ports"][0]
    simulator.stop()
    simulator.journal.unlink()
    simulator.journal.symlink_to("/dev/full")
    full = start_simulator(FLEET.replace("port = 0", f"port = {port}"))
    full.ready()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0, 2))
        assert _hung_up(line)
    _, stderr = full.process.communicate(timeout=20)
    assert full.process.returncode == 1
    assert "No space left on device; make room" in stderr


@pytest.mark.parametrize("model", ["abb-b23", "eastron-sdm630", "schneider-iem3155"])
def test_the_register_moves_by_the_integral_of_the_power_that_was_served(model: str) -> None:
    """E7: two hours around noon, read every second as a gateway would, on a meter that exports."""
    now_us = START_US
    _, values = _unit(model, lambda: now_us)
    first, imported_ws, exported_ws = values(), 0.0, 0.0
    for _ in range(7200):
        power_w = values()["power_w"]
        imported_ws += max(power_w, 0)
        exported_ws += max(-power_w, 0)
        now_us += 10**6
    last = values()
    step_wh = {"abb-b23": 10, "schneider-iem3155": 1, "eastron-sdm630": 2}[model]
    assert exported_ws > 3600 * 1000
    assert last["energy_import_wh"] - first["energy_import_wh"] == pytest.approx(imported_ws / 3600, abs=step_wh)
    assert last["energy_export_wh"] - first["energy_export_wh"] == pytest.approx(exported_ws / 3600, abs=step_wh)


def test_two_simulators_of_one_seed_serve_the_same_bytes_at_the_same_time() -> None:
    answers = []
    for _ in range(2):
        unit, _values = _unit("eastron-sdm630", lambda: START_US + 123_456)
        answers.append(unit.answer(struct.pack(">BHH", 4, 0, 80)).pdu)
    assert answers[0] == answers[1]
    assert len(answers[0]) == 162


def _unit(model: str, clock: Callable[[], int]) -> tuple[Unit, Callable[[], dict[str, float]]]:
    """A unit, and a reader of everything that it serves at the time of `clock`."""

    class Memory(Journal):
        def served(self, *, t_us: int, meter: str, values: dict[str, int | float]) -> None:
            self.values = getattr(self, "values", {}) | values

    journal, registers = Memory(None), MODBUS_MODELS[model]
    meter = Meter(seed=7, name=model, peak_w=6000, pv_peak_w=4000)
    faults = Faults(seed=7, name=model, clock=clock)
    unit = Unit(number=1, meter=meter, registers=registers, journal=journal, faults=faults, clock=clock)
    blocks = {
        "eastron-sdm630": [(0x34, 28)],
        "abb-b23": [(0x5000, 8), (0x5B14, 2)],
        "schneider-iem3155": [(0x0BF3, 2), (0x0C83, 8)],
    }[model]

    def values() -> dict[str, float]:
        for address, count in blocks:
            answer = unit.answer(struct.pack(">BHH", registers.function, address, count))
            assert answer.pdu[0] == registers.function
            if answer.serve is not None:
                answer.serve()
        return dict(journal.values)

    return unit, values
