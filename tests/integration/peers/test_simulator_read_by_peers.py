"""The simulated meters, read by clients nobody here wrote: libmodbus, mbpoll, pysunspec2; over TCP and on a line."""

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from peers import libmodbus

FLEET = """
seed = 11
[[modbus]]
port = 0
[[modbus.meter]]
name = "sdm"
model = "eastron-sdm630"
unit = 1
[[modbus.meter]]
name = "integers"
model = "sunspec-203"
unit = 2
[[modbus.meter]]
name = "floats"
model = "sunspec-213"
unit = 3
[[modbus]]
transport = "rtu"
pty = "{pty}"
[[modbus.meter]]
name = "on-a-line"
model = "eastron-sdm630"
unit = 17
"""


class Running:
    """A simulator process: the port of its endpoint, the link to its line, what it served."""

    def __init__(self, folder: Path) -> None:
        self.line, self._journal = folder / "line", folder / "journal"
        fleet = folder / "fleet.toml"
        fleet.write_text(FLEET.format(pty=self.line))
        command = [sys.executable, "-m", "firmware_sim", "run", str(fleet), "--journal", str(self._journal)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port: int = json.loads(self.process.stdout.readline())["modbus_ports"][0]

    def served(self, meter: str) -> dict[str, float]:
        """The values of the last reply of `meter` that had any."""
        lines = [json.loads(line) for line in self._journal.read_text().splitlines()]
        last: dict[str, float] = [line for line in lines if line["meter"] == meter][-1]["values"]
        return last


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("simulator"))
    with running.process:
        try:
            yield running
        finally:
            running.process.kill()


def floats(registers: list[int]) -> list[float]:
    return list(struct.unpack(f">{len(registers) // 2}f", struct.pack(f">{len(registers)}H", *registers)))


@pytest.mark.usefixtures("libmodbus_programs")
def test_libmodbus_reads_a_meter_over_tcp(simulator: Running) -> None:
    found = libmodbus.read("tcp", simulator.port, 1, 4, 0, 18)
    assert floats(found) == list(simulator.served("sdm").values())


@pytest.mark.usefixtures("libmodbus_programs")
def test_libmodbus_reads_a_meter_on_a_serial_line(simulator: Running) -> None:
    found = libmodbus.read("rtu", simulator.line, 9600, "N", 17, 4, 0, 18)
    assert floats(found) == list(simulator.served("on-a-line").values())


@pytest.mark.usefixtures("libmodbus_programs")
def test_libmodbus_is_told_which_register_is_not_there(simulator: Running) -> None:
    with pytest.raises(RuntimeError, match="Illegal data address"):
        libmodbus.read("tcp", simulator.port, 1, 4, 0x4000, 2)


@pytest.mark.parametrize("transport", ["tcp", "rtu"])
def test_mbpoll_reads_a_meter(simulator: Running, mbpoll: str, transport: str) -> None:
    over = {
        "tcp": ["-m", "tcp", "-p", str(simulator.port), "-a", "1", "127.0.0.1"],
        "rtu": ["-m", "rtu", "-b", "9600", "-P", "none", "-a", "17", str(simulator.line)],
    }[transport]
    command = [mbpoll, "-0", "-1", "-r", "52", "-t", "3:float", "-B", *over]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    found = re.search(r"\[52\]:\s+(\S+)", output)
    assert found is not None, output
    served = simulator.served({"tcp": "sdm", "rtu": "on-a-line"}[transport])
    assert float(found[1]) == pytest.approx(served["power_w"], rel=1e-5)


@pytest.mark.parametrize(("unit", "meter", "model"), [(2, "integers", 203), (3, "floats", 213)])
def test_pysunspec2_finds_the_meter_model_and_reads_its_points(
    simulator: Running, unit: int, meter: str, model: int
) -> None:
    device = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr="127.0.0.1", ipport=simulator.port)
    try:
        device.scan()
        (found,) = device.models[model]
        found.read()
    finally:
        device.close()
    served = simulator.served(meter)
    points = {"power_w": "W", "voltage_l1_v": "PhVphA", "frequency_hz": "Hz", "energy_import_wh": "TotWhImp"}
    assert {name: found.points[point].cvalue for name, point in points.items()} == pytest.approx(
        {name: served[name] for name in points}, rel=1e-6
    )
