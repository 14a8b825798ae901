"""`python -m bench.client HOW SECONDS PROFILE PORT...`: polls unit 1 of every port as fast as it can, in one process.

HOW is `bus` (the gateway's own loop, decoding to readings), `line` (its transport alone) or `pymodbus` (the client of
that library). Prints the number of requests answered, the seconds they took, and those of CPU.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import uvloop

from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import Line, tcp_line
from edge.frames import Frame
from edge.profiles import catalog
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.schema import ModbusProfile
from edge.reading import Delivery, Reading

_TIMEOUT_S = 5.0
# Always due again: what is measured is the loop, not the schedule.
_AT_ONCE_S = 1e-6


class _Counter:
    """A sink that keeps the last reading of each device and counts the rest."""

    def __init__(self) -> None:
        self.readings = 0
        self.last: dict[str, Reading] = {}
        self._committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._committed.set_result(None)

    def put(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int,
        deliveries: Sequence[Delivery] = (),
        frames: Sequence[Frame] = (),
    ) -> asyncio.Future[None]:
        for reading in readings:
            self.last[reading.device] = reading
            self.readings += 1
        return self._committed

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        raise AssertionError(reason)

    def committed(self, delivery: Delivery) -> bool:
        return False

    def hurry(self) -> None:
        pass


async def _buses(profile: ModbusProfile, ports: Sequence[int], seconds: float) -> int:
    sink, stop = _Counter(), asyncio.Event()
    buses = [
        ModbusBus(
            line=_line(port),
            devices=[ModbusDevice(id=str(port), unit=1, interval_s=_AT_ONCE_S, timeout_s=_TIMEOUT_S, profile=profile)],
            sink=sink,
            clock=Clock(),
        )
        for port in ports
    ]
    asyncio.get_running_loop().call_later(seconds, stop.set)
    async with asyncio.TaskGroup() as group:
        for bus in buses:
            group.create_task(bus.run(stop))
    quantities = {name for reading in sink.last.values() for name in reading.values}
    if len(sink.last) != len(ports) or quantities != {row.quantity for row in profile.registers}:
        raise RuntimeError(f"{len(sink.last)} of {len(ports)} devices were read, {len(quantities)} quantities")
    return sink.readings


async def _lines(block: Block, ports: Sequence[int], seconds: float) -> int:
    until_s = time.monotonic() + seconds

    async def poll(port: int) -> int:
        done = 0
        async with _line(port) as line:
            await line.connect()
            while time.monotonic() < until_s:
                await line.read(
                    unit=1, function=block.function, address=block.address, count=block.count, timeout_s=_TIMEOUT_S
                )
                done += 1
        return done

    return sum(await asyncio.gather(*map(poll, ports)))


async def _pymodbus(block: Block, ports: Sequence[int], seconds: float) -> int:
    from pymodbus.client import AsyncModbusTcpClient

    until_s = time.monotonic() + seconds

    async def poll(port: int) -> int:
        done = 0
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=_TIMEOUT_S)
        await client.connect()
        while time.monotonic() < until_s:
            reply = await client.read_input_registers(block.address, count=block.count, device_id=1)
            if len(reply.registers) != block.count:
                raise RuntimeError(str(reply))
            done += 1
        client.close()
        return done

    return sum(await asyncio.gather(*map(poll, ports)))


def _line(port: int) -> Line:
    return tcp_line(host="127.0.0.1", port=port, connect_timeout_s=_TIMEOUT_S)


def main(how: str, seconds: float, profile: ModbusProfile, ports: Sequence[int]) -> None:
    """Raises RuntimeError when a device was not read whole."""
    (block,) = profile.blocks()
    polling = {
        "bus": lambda: _buses(profile, ports, seconds),
        "line": lambda: _lines(block, ports, seconds),
        "pymodbus": lambda: _pymodbus(block, ports, seconds),
    }[how]
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done = runner.run(polling())
    print(done, time.monotonic() - started_s, time.process_time() - started_cpu_s)


if __name__ == "__main__":
    main(
        sys.argv[1],
        float(sys.argv[2]),
        catalog.modbus(sys.argv[3]),
        list(map(int, sys.argv[4:])),
    )
