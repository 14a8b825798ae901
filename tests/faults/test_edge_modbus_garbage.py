"""A Modbus peer that answers anything: nothing of it may become a value, and nothing may end the polling."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import tcp_line
from edge.profiles import catalog
from tests.integration.edge.peers import Kept, eventually

Answer = Callable[[int, int, int, int], bytes]


def _frame(transaction: int, unit: int, function: int, words: list[int]) -> bytes:
    body = struct.pack(f">BBB{len(words)}H", unit, function, 2 * len(words), *words)
    return struct.pack(">HHH", transaction, 0, len(body)) + body


def _good(transaction: int, unit: int, address: int, count: int) -> bytes:
    """Every float32 of the meter is 2.0."""
    return _frame(transaction, unit, 4, [0x4000, 0x0000] * (count // 2))


_WRONG = [0x4110, 0x0000]  # 9.0, which no good answer holds
_GARBAGE: dict[str, Answer] = {
    "random-bytes": lambda t, u, a, n: random.Random(a).randbytes(40),
    "another-transaction": lambda t, u, a, n: _frame(t + 1, u, 4, _WRONG * (n // 2)),
    "another-unit": lambda t, u, a, n: _frame(t, u + 1, 4, _WRONG * (n // 2)),
    "another-function": lambda t, u, a, n: _frame(t, u, 3, _WRONG * (n // 2)),
    "too-few-registers": lambda t, u, a, n: _frame(t, u, 4, _WRONG * (n // 2 - 1)),
    "too-many-registers": lambda t, u, a, n: _frame(t, u, 4, _WRONG * (n // 2 + 1)),
    "no-registers": lambda t, u, a, n: _frame(t, u, 4, []),
    "cut-short": lambda t, u, a, n: _frame(t, u, 4, _WRONG * (n // 2))[:-3],
    "a-lying-byte-count": lambda t, u, a, n: struct.pack(">HHHBBB", t, 0, 5, u, 4, 200) + b"\x41\x10",
    "device-busy": lambda t, u, a, n: struct.pack(">HHHBBB", t, 0, 3, u, 0x84, 6),
    "an-unknown-exception": lambda t, u, a, n: struct.pack(">HHHBBB", t, 0, 3, u, 0x84, 99),
    "nothing-at-all": lambda t, u, a, n: b"",
}


class _Peer:
    """`answer` makes the bytes for each request; None closes the connection."""

    def __init__(self) -> None:
        self.answer: Answer | None = _good
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction, _, _, unit, _, address, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                self.requests += 1
                if self.answer is None:
                    return
                writer.write(self.answer(transaction, unit, address, count))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def _polling() -> AsyncIterator[tuple[_Peer, Kept, ModbusDevice]]:
    peer, kept, stop = _Peer(), Kept(), asyncio.Event()
    profile = catalog.modbus("eastron-sdm630")
    device = ModbusDevice(id="m", unit=1, profile=profile, interval_s=0.05, timeout_s=0.1)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = tcp_line(host="127.0.0.1", port=port, connect_timeout_s=1.0)
    bus = ModbusBus(line=line, devices=[device], sink=kept, clock=Clock(), jitter=random.Random(1))
    async with server, asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        yield peer, kept, device
        stop.set()


@pytest.mark.parametrize("garbage", [*_GARBAGE, "closes-the-connection"])
async def test_garbage_becomes_no_value_and_ends_no_polling(garbage: str) -> None:
    """E4, E5, E6, E11"""
    async with _polling() as (peer, kept, device):
        await eventually(lambda: len(kept.readings) >= 2)
        peer.answer = _GARBAGE.get(garbage)
        await eventually(lambda: device.state.failures_in_a_row >= 2)
        during = len(kept.readings)
        peer.answer = _good
        await eventually(lambda: len(kept.readings) >= during + 2, timeout_s=20)
    values = {value for reading in kept.readings for value in reading.values.values()}
    assert values == {2.0, 2000}
    assert device.state.errors >= 2


async def test_a_reply_with_transaction_zero_from_the_request_before_is_not_taken() -> None:
    """E4: a gateway that numbers nothing answers late; the reply meets a closed connection, or another length."""
    late: list[bytes] = []

    def answer(transaction: int, unit: int, address: int, count: int) -> bytes:
        late.append(_frame(0, unit, 4, _WRONG * (count // 2)))
        return late.pop(0) if len(late) > 1 else b""

    async with _polling() as (peer, kept, device):
        await eventually(lambda: len(kept.readings) >= 2)
        peer.answer = answer
        await eventually(lambda: device.state.failures_in_a_row >= 1)
        peer.answer = _good
        seen = len(kept.readings)
        await eventually(lambda: len(kept.readings) >= seen + 2, timeout_s=20)
    assert {value for reading in kept.readings for value in reading.values.values()} == {2.0, 2000}
