"""What happens to requests when it is the gateway, its names or its files that misbehave, on both event loops."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from edge.drivers.modbus.connection import Connection
from edge.drivers.modbus.framing import Mbap
from edge.drivers.modbus.line import tcp_line
from edge.drivers.modbus.transport import FileTransport
from edge.errors import ModbusFault
from tests.integration.edge.peers import ModbusMeters

pytestmark = pytest.mark.both_event_loops


async def test_a_reply_that_came_in_time_is_taken_however_late_the_gateway_looks() -> None:
    """E11: a stalled event loop finds its timer and the reply at the same moment."""
    with ModbusMeters([1]) as meters:
        meters.set_float(1, 0, 2.0)
        meters.delay_s[1] = 0.05
        async with tcp_line(host="127.0.0.1", port=meters.port, connect_timeout_s=1.0) as line:
            await line.connect()
            for _ in range(3):
                asyncio.get_running_loop().call_later(0.01, time.sleep, 0.4)
                data = await line.read(unit=1, function=4, address=0, count=2, timeout_s=0.2)
                assert struct.unpack(">f", data) == (2.0,)


async def test_a_unit_has_all_of_its_time_after_a_stall() -> None:
    """E11: the event loop's own time stands still while something else keeps it busy."""
    with ModbusMeters([1]) as meters:
        meters.delay_s[1] = 0.15
        async with tcp_line(host="127.0.0.1", port=meters.port, connect_timeout_s=1.0) as line:
            await line.connect()
            time.sleep(0.4)  # noqa: ASYNC251 - the stall itself
            await line.read(unit=1, function=4, address=0, count=2, timeout_s=0.3)


async def test_nothing_is_written_to_a_file_that_has_the_number_of_a_lost_one() -> None:
    """E11: between the loss of a port and the news of it another file may be opened under its descriptor."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    file = os.fdopen(read_end, "rb", buffering=0)
    connection = Connection(Mbap())
    written: list[bytes] = []

    def write(data: bytes) -> int:
        written.append(data)
        return len(data)

    transport = FileTransport(file, connection, read=lambda size: os.read(read_end, size), write=write)
    os.close(write_end)
    # By single steps: what is looked for is over one step later.
    while not file.closed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    transport.write(b"request")
    assert not written


@contextmanager
def _switched_off() -> Iterator[socket.socket]:
    """A port that completes no connection, as of a host that is switched off."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=0))
        for _ in range(8):
            client = stack.enter_context(socket.socket(socket.AF_INET6))
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        time.sleep(0.1)
        yield server


def test_a_name_with_an_address_that_leads_nowhere_is_reached_by_its_other_one() -> None:
    """E11: where only IPv4 gets through, IPv6 must not use up the time on every attempt."""
    with _switched_off() as dead, ModbusMeters([1]) as meters:

        class Resolving(asyncio.SelectorEventLoop):
            async def getaddrinfo(self, *_: object, **__: object) -> Any:
                said = dead.getsockname()[:2], ("127.0.0.1", meters.port)
                return [info for address in said for info in socket.getaddrinfo(*address, type=socket.SOCK_STREAM)]

        async def read() -> bytes:
            async with tcp_line(host="gateway.example", port=502, connect_timeout_s=1.0) as line:
                await line.connect()
                return await line.read(unit=1, function=4, address=0, count=2, timeout_s=0.5)

        with asyncio.Runner(loop_factory=Resolving) as runner:
            assert len(runner.run(read())) == 4


@pytest.mark.parametrize("host", ["192.168..10", "a" * 70, ".gateway", "gateway\0"])
async def test_a_name_that_can_be_none_is_an_endpoint_that_cannot_be_reached(host: str) -> None:
    """E11"""
    async with tcp_line(host=host, port=502, connect_timeout_s=1.0) as line:
        with pytest.raises(ModbusFault, match="cannot be reached"):
            await line.connect()
