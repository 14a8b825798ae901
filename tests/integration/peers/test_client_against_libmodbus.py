"""Our Modbus client against libmodbus's server, over TCP and on a serial line."""

import random
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edge.drivers.modbus.line import Line, serial_line, tcp_line
from edge.errors import ModbusFault
from peers import libmodbus

pytestmark = pytest.mark.usefixtures("libmodbus_programs")

_CHANCE = random.Random(3)
COILS = {(table, address): _CHANCE.randrange(2) for table in (0, 1) for address in range(2_000)}
REGISTERS = {(table, address): _CHANCE.randrange(65_536) for table in (3, 4) for address in range(200)}
TABLE_OF = {1: 0, 2: 1, 3: 4, 4: 3}


@pytest.fixture(scope="module")
def port(libmodbus_programs: None) -> Iterator[int]:
    with libmodbus.tcp_server(registers=COILS | REGISTERS) as (port,):
        yield port


@pytest.fixture
async def line(port: int) -> AsyncIterator[Line]:
    async with tcp_line(host="127.0.0.1", port=port, connect_timeout_s=5) as line:
        await line.connect()
        yield line


@pytest.fixture
async def serial(joined: tuple[Path, Path]) -> AsyncIterator[Line]:
    ours, theirs = joined
    with libmodbus.rtu_server(path=theirs, unit=17, registers=COILS | REGISTERS, baud_rate=19_200):
        async with serial_line(path=str(ours), baud_rate=19_200) as line:
            await line.connect()
            yield line


def registers(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data))


def bits(data: bytes, count: int) -> list[int]:
    return [data[n // 8] >> n % 8 & 1 for n in range(count)]


@pytest.mark.parametrize("function", [3, 4])
@pytest.mark.parametrize(("address", "count"), [(0, 1), (0, 125), (7, 60), (198, 2)])
async def test_registers_are_those_of_the_server(line: Line, function: int, address: int, count: int) -> None:
    data = await line.read(unit=1, function=function, address=address, count=count, timeout_s=5)
    assert registers(data) == [REGISTERS[TABLE_OF[function], at] for at in range(address, address + count)]


@pytest.mark.parametrize("function", [1, 2])
@pytest.mark.parametrize(("address", "count"), [(0, 1), (3, 8), (0, 2_000), (5, 17)])
async def test_bits_are_those_of_the_server(line: Line, function: int, address: int, count: int) -> None:
    data = await line.read(unit=1, function=function, address=address, count=count, timeout_s=5)
    assert bits(data, count) == [COILS[TABLE_OF[function], at] for at in range(address, address + count)]


async def test_a_register_that_is_not_there_is_exception_2_and_the_connection_stays(line: Line) -> None:
    """E2: the server names the address; nobody has to reconnect over it."""
    with pytest.raises(ModbusFault) as refused:
        await line.read(unit=1, function=3, address=9_995, count=10, timeout_s=5)
    assert refused.value.exception_code == 2
    assert not refused.value.line_lost
    assert registers(await line.read(unit=1, function=3, address=0, count=1, timeout_s=5)) == [REGISTERS[4, 0]]


@pytest.mark.parametrize(
    ("function", "reads", "values"),
    [(5, 1, [1]), (15, 1, [1, 0, 1, 1, 0, 1, 1, 1, 0, 1]), (6, 3, [4711]), (16, 3, [1, 2, 65_535])],
)
async def test_what_is_written_reads_back(line: Line, function: int, reads: int, values: list[int]) -> None:
    await line.write(unit=1, function=function, address=1_500, values=values, timeout_s=5)
    data = await line.read(unit=1, function=reads, address=1_500, count=len(values), timeout_s=5)
    assert (bits(data, len(values)) if reads == 1 else registers(data)) == values


async def test_rtu_on_a_serial_line_reads_every_function(serial: Line) -> None:
    for function in (1, 2):
        data = await serial.read(unit=17, function=function, address=1, count=37, timeout_s=5)
        assert bits(data, 37) == [COILS[TABLE_OF[function], at] for at in range(1, 38)]
    for function in (3, 4):
        data = await serial.read(unit=17, function=function, address=1, count=40, timeout_s=5)
        assert registers(data) == [REGISTERS[TABLE_OF[function], at] for at in range(1, 41)]


async def test_a_silent_unit_on_the_serial_line_costs_its_time_out_and_nothing_else(serial: Line) -> None:
    """E1: the neighbour answers the next request, and with its own registers.

    libmodbus takes what comes within 0.5 s after a request to somebody else for that one's answer.
    """
    with pytest.raises(ModbusFault, match="no reply"):
        await serial.read(unit=18, function=3, address=0, count=2, timeout_s=0.8)
    if not serial.connected:
        await serial.connect()
    data = await serial.read(unit=17, function=3, address=0, count=2, timeout_s=5)
    assert registers(data) == [REGISTERS[4, 0], REGISTERS[4, 1]]
