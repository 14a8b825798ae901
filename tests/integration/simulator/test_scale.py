"""A whole quarter of a town in one process."""

import os
import socket
import struct
from pathlib import Path

METERS, PER_ENDPOINT = 2000, 20


def _fleet() -> str:
    parts = ["seed = 7"]
    for number in range(METERS):
        parts += ["[[modbus]]", "port = 0"] if number % PER_ENDPOINT == 0 else []
        parts += ["[[modbus.meter]]", f'name = "m{number}"', 'model = "eastron-sdm630"']
        parts.append(f"unit = {number % PER_ENDPOINT + 1}")
    return "\n".join(parts)


def test_two_thousand_meters_in_one_process_answer_each_with_its_own_register(start_simulator) -> None:
    simulator = start_simulator(_fleet())
    told = simulator.ready()
    assert told["meters"] == METERS
    registers = set()
    for port in told["modbus_ports"]:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            for unit in range(1, PER_ENDPOINT + 1):
                line.sendall(struct.pack(">HHHBBHH", unit, 0, 6, unit, 4, 0x48, 2))
                registers.add(line.recv(64)[9:])
    assert len(registers) > 0.99 * METERS, "registers of different meters may agree by chance, but hardly ever do"
    pages = int(Path(f"/proc/{simulator.process.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < 200 * 10**6
    assert simulator.stop() == (0, "")
