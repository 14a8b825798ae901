"""TCP endpoints as they are: closing after each reply, letting one client in, accepting and saying nothing."""

import asyncio
import os
import random
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.exchange import Exchange
from edge.drivers.modbus.line import Line, tcp_line
from edge.errors import ModbusFault
from edge.profiles import catalog
from tests.integration.edge.peers import Kept, eventually
from tests.integration.edge.rtu import floats

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _reply(transaction: int, unit: int, count: int, value: float = 2.0) -> bytes:
    body = floats(unit, 4, count, value)[:-2]
    return struct.pack(">HHH", transaction, 0, len(body)) + body


async def _request(reader: asyncio.StreamReader) -> tuple[int, int, int]:
    """Transaction, unit, count."""
    transaction, _, _, unit, _, _, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
    return transaction, unit, count


class _Endpoint:
    """`open` connections now, `most` at once so far, `accepted` in all."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.open = self.most = self.accepted = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open, self.accepted = self.open + 1, self.accepted + 1
        self.most = max(self.most, self.open)
        self._writers.add(writer)
        try:
            await self.handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()


@asynccontextmanager
async def _endpoint(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[_Endpoint, int]]:
    endpoint = _Endpoint(handler)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield endpoint, server.sockets[0].getsockname()[1]


@asynccontextmanager
async def _polling(
    port: int, *, interval_s: float = 0.05, timeout_s: float = 0.2
) -> AsyncIterator[tuple[Kept, ModbusDevice]]:
    kept, stop = Kept(), asyncio.Event()
    profile = catalog.modbus("eastron-sdm630")
    device = ModbusDevice(id="m", unit=1, profile=profile, interval_s=interval_s, timeout_s=timeout_s)
    line = tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0)
    bus = ModbusBus(line=line, devices=[device], sink=kept, clock=Clock(), jitter=random.Random(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        try:
            yield kept, device
        finally:
            stop.set()


async def _answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        transaction, unit, count = await _request(reader)
        writer.write(_reply(transaction, unit, count))


async def _once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    transaction, unit, count = await _request(reader)
    writer.write(_reply(transaction, unit, count))


async def test_an_endpoint_that_closes_after_each_reply_costs_no_poll() -> None:
    """E10, E11: two blocks, two connections, one whole reading each time, and no error."""
    async with _endpoint(_once) as (endpoint, port), _polling(port) as (kept, device):
        await eventually(lambda: len(kept.readings) >= 20)
    assert all(len(reading.values) == 18 for reading in kept.readings)
    assert device.state.errors == 0
    assert endpoint.accepted >= 2 * len(kept.readings) - 1
    assert endpoint.most == 1


async def test_an_endpoint_that_lets_one_client_in_gets_one_after_every_fault() -> None:
    """E10: the connection that timed out is gone before the next one is made."""
    async with _endpoint(_answering) as (endpoint, port), _polling(port) as (kept, device):
        await eventually(lambda: len(kept.readings) >= 2)

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await _request(reader)

        endpoint.handler = silent
        endpoint.hang_up()
        await eventually(lambda: device.state.failures_in_a_row >= 3, timeout_s=20)
        endpoint.handler = _answering
        seen = len(kept.readings)
        await eventually(lambda: len(kept.readings) >= seen + 2, timeout_s=20)
    assert endpoint.accepted >= 4
    assert endpoint.most == 1


@pytest.mark.both_event_loops
async def test_an_endpoint_that_accepts_and_never_answers_costs_no_sockets() -> None:
    """E11"""

    async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        _endpoint(mute) as (endpoint, port),
        tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0) as line,
    ):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            await line.connect()
            with pytest.raises(ModbusFault, match="no reply") as caught:
                await line.read(unit=1, function=4, address=0, count=2, timeout_s=0.01)
            assert caught.value.line_lost
            assert not line.connected
        await eventually(lambda: endpoint.open == 0)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert endpoint.accepted == 20


@pytest.mark.both_event_loops
async def test_an_endpoint_that_hangs_up_on_every_request_is_not_called_twice_for_one() -> None:
    """E10, E11: what never answered a connection would not answer the next one either."""

    async def hanging_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await _request(reader)

    async with (
        _endpoint(hanging_up) as (endpoint, port),
        tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0) as line,
    ):
        for _ in range(5):
            await line.connect()
            with pytest.raises(ModbusFault, match="connection lost"):
                await _float(line)
    assert endpoint.accepted == 5


async def test_a_flapping_endpoint_is_read_whenever_it_is_there() -> None:
    """E11"""
    turn = 0

    async def flapping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        for _ in range(turn % 4):
            await _once(reader, writer)

    async with _endpoint(flapping) as (_, port), _polling(port) as (kept, _device):
        await eventually(lambda: len(kept.readings) >= 15, timeout_s=20)
    assert {value for reading in kept.readings for value in reading.values.values()} == {2.0, 2000}


@asynccontextmanager
async def _line(handler: Handler) -> AsyncIterator[Line]:
    async with _endpoint(handler) as (_, port), tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0) as line:
        await line.connect()
        yield line


async def _float(line: Line, unit: int = 1) -> float:
    return struct.unpack(">f", await line.read(unit=unit, function=4, address=0, count=2, timeout_s=0.5))[0]


async def test_replies_to_earlier_requests_are_passed_over() -> None:
    """E4: nine replies of 9.0 with other numbers come first."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction, unit, count = await _request(reader)
            others = (number % 0x10000 for number in range(transaction - 9, transaction))
            writer.write(b"".join(_reply(number, unit, count, 9.0) for number in others))
            writer.write(_reply(transaction, unit, count) + _reply(transaction, unit, count, 9.0))

    seen: list[Exchange] = []
    async with _line(late) as line:
        line.tap = seen.append
        assert [await _float(line) for _ in range(10)] == [2.0] * 10
    assert all(struct.unpack(">f", (exchange.reply or b"")[2:])[0] == 2.0 for exchange in seen)
    assert all(exchange.raw for exchange in seen)


@pytest.mark.parametrize(("code", "aside"), [(2, ("4:0x0008",)), (3, ("4:0x0008",)), (4, ()), (6, ()), (1, ())])
async def test_only_a_register_that_is_not_there_is_set_aside(code: int, aside: tuple[str, ...]) -> None:
    """E2: meters say so with exception 2 or 3; what is busy or broken may be there tomorrow."""
    refused = 0

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal refused
        while True:
            transaction, _, _, unit, _, address, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
            if address <= 0x0008 < address + count:
                refused += 1
                writer.write(struct.pack(">HHHBBB", transaction, 0, 3, unit, 0x84, code))
            else:
                writer.write(_reply(transaction, unit, count))

    async with _endpoint(refusing) as (_, port), _polling(port, interval_s=0.02) as (kept, device):
        await eventually(lambda: bool(device.state.set_aside) if aside else refused >= 20)
        seen = len(kept.readings)
        await eventually(lambda: len(kept.readings) >= seen + 2)
        assert device.state.set_aside == aside
    assert len(kept.readings[-1].values) == (17 if aside else 9)


@pytest.mark.parametrize(("code", "requests"), [(10, 1), (11, 1), (6, 2)])
async def test_a_unit_that_a_gateway_cannot_reach_is_asked_once_at_a_poll(code: int, requests: int) -> None:
    """E1: the gateway waits for it each time, and the neighbours with it."""
    asked = 0

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            transaction, unit, _ = await _request(reader)
            asked += 1
            writer.write(struct.pack(">HHHBBB", transaction, 0, 3, unit, 0x84, code))

    profile = catalog.modbus("eastron-sdm630")
    device = ModbusDevice(id="m", unit=1, profile=profile, interval_s=1.0, timeout_s=0.5)
    async with _line(gateway) as line:
        polled = await device.poll(line, Clock())
    assert (asked, polled.values, polled.silent) == (requests, {}, requests == 1)


@pytest.mark.parametrize(
    "answer", [(1, 0x83, 2), (2, 0x84, 2), (1, 0x04, 2)], ids=["function", "unit", "no exception at all"]
)
async def test_an_exception_to_something_else_says_nothing_of_this_request(answer: tuple[int, int, int]) -> None:
    """E2, E4: else a register would be set aside that nobody asked for."""

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction, _, _ = await _request(reader)
            writer.write(struct.pack(">HHHBBB", transaction, 0, 3, *answer))

    async with _line(refusing) as line:
        with pytest.raises(ModbusFault, match="instead of unit 1, function 4, 4 bytes") as caught:
            await _float(line)
    assert caught.value.exception_code is None
    assert caught.value.line_lost


async def test_a_reply_may_come_in_any_pieces() -> None:
    async def dribbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            for byte in _reply(*await _request(reader)):
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.001)

    async with _line(dribbling) as line:
        assert [await _float(line) for _ in range(5)] == [2.0] * 5


async def test_requests_of_several_tasks_take_turns() -> None:
    """E4, E10"""
    under_way = 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        while True:
            transaction, unit, count = await _request(reader)
            under_way += 1
            assert under_way == 1
            await asyncio.sleep(0.002)
            under_way -= 1
            writer.write(_reply(transaction, unit, count, float(unit)))

    async with _line(counting) as line:
        values = await asyncio.gather(*(_float(line, unit) for unit in range(1, 30)))
    assert values == [float(unit) for unit in range(1, 30)]


@pytest.mark.both_event_loops
async def test_rtu_frames_over_tcp() -> None:
    async def rtu(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            unit, function, _, count, _ = struct.unpack(">BBHHH", await reader.readexactly(8))
            writer.write(floats(unit + 1, function, count, 9.0) + floats(unit, function, count, 2.0))

    async with (
        _endpoint(rtu) as (_, port),
        tcp_line(host="127.0.0.1", port=port, framing="rtu", connect_timeout_s=1.0) as line,
    ):
        await line.connect()
        assert [await _float(line) for _ in range(5)] == [2.0] * 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for meter.example that vouches for itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=meter.example"
    )
    extension = [
        "-addext",
        "subjectAltName=DNS:meter.example",
        "-keyout",
        folder / "key.pem",
        "-out",
        folder / "cert.pem",
    ]
    subprocess.run([*command.split(), *extension], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return both


@pytest.mark.both_event_loops
@pytest.mark.parametrize(
    ("server_name", "refused"),
    [("meter.example", None), ("other.example", "not accepted"), (".meter", "cannot be reached")],
)
async def test_tls_with_a_certificate_on_both_sides(certificate: Path, server_name: str, refused: str | None) -> None:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificate)
    for context in (server, client):
        context.load_cert_chain(certificate)
    async with (
        _endpoint(_answering, server) as (_, port),
        tcp_line(host="127.0.0.1", port=port, tls=client, server_name=server_name, connect_timeout_s=2.0) as line,
    ):
        if refused:
            with pytest.raises(ModbusFault, match=refused):
                await line.connect()
            return
        await line.connect()
        assert [await _float(line) for _ in range(5)] == [2.0] * 5
