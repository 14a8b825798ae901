"""What a gateway talks to: a receiver that misbehaves as told, meters on Modbus TCP. All of them real servers."""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import uvicorn
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from contract.answer import CREDIT, TIME
from contract.batch import Batch
from contract.codec import JSON, MEDIA_TYPES, MSGPACK, checksum, decode, decompress
from contract.notes import FIRST_KINDS, NoteKind
from contract.receipt import Receipt, StreamState
from contract.report import Report
from edge.frames import Frame
from edge.reading import Delivery, Reading


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Poll `condition` from a thread without an event loop; fails when it does not come true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        time.sleep(0.02)


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait in the event loop until `condition`; raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside this event loop
            await asyncio.sleep(0.01)


class Kept:
    """A sink that commits at once, or only when told with `hold`. Each reading came with one of `offsets_us`."""

    def __init__(self, *, hold: bool = False) -> None:
        self.readings: list[Reading] = []
        self.offsets_us: list[int] = []
        self.rejected: list[tuple[str, bytes, str]] = []
        self.deliveries: set[Delivery] = set()
        self.futures: list[asyncio.Future[None]] = []
        self.hurried = 0
        self._hold = hold

    def of(self, device: str) -> list[Reading]:
        return [reading for reading in self.readings if reading.device == device]

    def put(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int,
        deliveries: Sequence[Delivery] = (),
        frames: Sequence[Frame] = (),
    ) -> asyncio.Future[None]:
        self.readings += readings
        self.offsets_us += [offset_us] * len(readings)
        return self._future(deliveries)

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        self.rejected.append((topic, payload, reason))
        return self._future([delivery] if delivery else [])

    def committed(self, delivery: Delivery) -> bool:
        return delivery in self.deliveries

    def hurry(self) -> None:
        self.hurried += 1

    def _future(self, deliveries: Sequence[Delivery]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if not self._hold:
            future.set_result(None)
            self.deliveries.update(deliveries)
        return future


class Receiver(AbstractContextManager["Receiver"]):
    """An HTTP receiver with a ledger. `script` holds what to do with the next batches; then they are accepted.

    A step is a status code, or (status, headers), or the bytes of a whole HTTP response, or "hang",
    "reset-after-commit", "hang-after-commit" or "foreign-receipt", or "commit" to accept. `judge` may give a step for
    each batch that the script has none for; `scripts` has such steps for the questions and the reports.
    `media_types` is None for a receiver of release 0.1.0, which knows no reports either. `note_kinds` is None for one
    that names no kinds of notes; it knows the first ones, and each other kind is malformed. `credit` and `clock_us`
    go into the headers of answers. All bodies share a link of `bytes_per_s`; each batch takes `seconds` more to arrive.
    `batches` are those committed, `stored` the readings by device and time, `bodies` every body that arrived, by
    sequence number, `arrivals` when each batch was first committed.
    """

    def __init__(self, port: int | None = None, *, media_types: Sequence[str] | None = MEDIA_TYPES) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.media_types = media_types
        self.note_kinds: Sequence[str] | None = [*NoteKind]
        self.credit: int | None = None
        self.clock_us: Callable[[], int] | None = None
        self.bytes_per_s: float | None = None
        self.seconds: Callable[[Batch], float] = lambda batch: 0.0
        self.judge: Callable[[Batch], Any] = lambda batch: None
        self.script: deque[Any] = deque()
        self.scripts: dict[str, deque[Any]] = {"GET": deque(), "PUT": deque()}
        self.batches: dict[tuple[str, int], Batch] = {}
        self.stored: dict[tuple[str, int], dict[str, Any]] = {}
        self.bodies: list[tuple[int, bytes]] = []
        self.arrivals: list[tuple[float, Batch]] = []
        self.requests: list[float] = []
        self.questions: list[tuple[str, int]] = []
        self.reports: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.connections: set[Any] = set()
        self.most_under_way = 0
        self._under_way = 0
        self._link = asyncio.Lock()
        self._receipts: dict[tuple[str, int], Receipt] = {}

    def __enter__(self) -> "Receiver":
        config = uvicorn.Config(
            self._app, interface="asgi3", host="127.0.0.1", port=self.port, log_level="error", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5)

    def rows(self) -> list[tuple[str, int, dict[str, Any]]]:
        """Every reading that was committed, as often as it was: device, time, values."""
        return [row for batch in list(self.batches.values()) for row in _rows(batch)]

    def forget(self, keys: Iterable[tuple[str, int]]) -> None:
        """Lose the batches with these streams and numbers, as a database does that falls back to an older copy."""
        for key in keys:
            del self._receipts[key]
            for device, time_us, _ in _rows(self.batches.pop(key)):
                del self.stored[device, time_us]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.connections.add(scope["client"])
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.keys.append(headers["authorization"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = _Answer(send, credit=self.credit if scope["method"] != "GET" else None, clock_us=self.clock_us)
        if scope["method"] == "POST":
            self.requests.append(time.monotonic())
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            try:
                if await self._arrives(body, headers, receive):
                    await self._post(body, headers, answer)
            finally:
                self._under_way -= 1
            return
        steps = self.scripts[scope["method"]]
        if steps and await answer.step(steps.popleft()):
            return
        if scope["method"] == "PUT":
            await self._report(body, answer)
        else:
            await self._tell(scope, answer)

    async def _post(self, body: bytes, headers: dict[str, str], answer: "_Answer") -> None:
        media_type = headers["content-type"]
        if media_type not in (self.media_types or (MSGPACK, JSON)):
            await answer.step(415)
            return
        plain = decompress(body, headers["content-encoding"], 2**26)
        batch = decode(plain, media_type)
        self.bodies.append((batch.seq, plain))
        if not {note.kind for note in batch.notes} <= set(self.note_kinds or FIRST_KINDS):
            await answer.step(422)
            return
        step = self.script.popleft() if self.script else self.judge(batch)
        if await answer.step(step):
            return
        receipt = self._commit(batch, checksum(plain))
        if receipt is None:
            await answer.step(409)
        elif step == "reset-after-commit":
            answer.reset()
        elif step == "hang-after-commit":
            await asyncio.sleep(60)
        elif step == "foreign-receipt":
            await answer.give(200, msgspec.structs.replace(receipt, sha256="0" * 64))
        else:
            await answer.give(200, receipt)

    async def _arrives(self, body: bytes, headers: dict[str, str], receive: Any) -> bool:
        """Take as long as the link needs; False when the gateway has given up by then."""
        arriving = asyncio.create_task(self._transmit(body, headers))
        leaving = asyncio.create_task(receive())
        await asyncio.wait({arriving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        arriving.cancel()
        return arriving.done()

    async def _transmit(self, body: bytes, headers: dict[str, str]) -> None:
        """Slice by slice, others' between them."""
        for _ in range(0, len(body) if self.bytes_per_s else 0, 512):
            async with self._link:
                await asyncio.sleep(512 / (self.bytes_per_s or 1))
        plain = decompress(body, headers["content-encoding"], 2**26)
        await asyncio.sleep(self.seconds(decode(plain, headers["content-type"])))

    async def _tell(self, scope: Any, answer: "_Answer") -> None:
        stream = scope["path"].rpartition("/")[2]
        first = int(scope["query_string"].decode().partition("from=")[2])
        self.questions.append((stream, first))
        known = sorted(seq for name, seq in self._receipts if name == stream)
        if self.media_types is None:
            await answer.give(200, {"stream": stream, "received": _ranges(known)})
        else:
            known = [seq for seq in known if seq >= first]
            state = StreamState(stream, _ranges(known), list(self.media_types), list(self.note_kinds or ()))
            await answer.give(200, state)

    async def _report(self, body: bytes, answer: "_Answer") -> None:
        if self.media_types is None:
            await answer.step(404)
            return
        msgspec.json.decode(body, type=Report)
        self.reports.append(msgspec.json.decode(body))
        await answer.give(200, {})

    def _commit(self, batch: Batch, sha256: str) -> Receipt | None:
        key = (batch.stream, batch.seq)
        if key not in self._receipts:
            self.arrivals.append((time.monotonic(), batch))
            self.batches[key] = batch
            rows = {(device, time_us): values for device, time_us, values in _rows(batch)}
            fresh = len(rows.keys() - self.stored.keys())
            self.stored.update(rows)
            self._receipts[key] = Receipt(
                1, batch.stream, batch.seq, sha256, batch.readings, fresh, batch.readings - fresh, []
            )
        found = self._receipts[key]
        return found if found.sha256 == sha256 else None


class _Answer:
    """The answer to one request."""

    def __init__(self, send: Any, *, credit: int | None, clock_us: Callable[[], int] | None) -> None:
        self._send, self._credit, self._clock_us = send, credit, clock_us

    async def step(self, step: Any) -> bool:
        """Answer as a step of a script says; False when it leaves that to the receiver."""
        if step == "hang":
            await asyncio.sleep(60)
        if isinstance(step, bytes):
            self._send.__self__.transport.write(step)
            self._send.__self__.transport.close()
            return True
        if not isinstance(step, int | tuple):
            return False
        status, extra = step if isinstance(step, tuple) else (step, {})
        await self.give(status, {"title": f"scripted {status}", "where": "$.devices[0]"}, extra)
        return True

    async def give(self, status: int, document: Any, extra: Mapping[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json" if status == 200 else "application/problem+json"}
        if self._credit is not None:
            headers[CREDIT] = str(self._credit)
        if self._clock_us is not None:
            headers[TIME] = str(self._clock_us())
        encoded = [(name.encode(), value.encode()) for name, value in (headers | dict(extra or {})).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})
        await self._send({"type": "http.response.body", "body": msgspec.json.encode(document)})

    def reset(self) -> None:
        self._send.__self__.transport.abort()


def _rows(batch: Batch) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for block in batch.devices:
        for row, time_us in enumerate(block.time_us):
            yield block.device, time_us, {name: column[row] for name, column in block.values.items()}


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


class ModbusMeters(AbstractContextManager["ModbusMeters"]):
    """pymodbus's own server with one register file per unit, in a thread of its own.

    `delay_s`, `refuse` and `ignore` act per unit: seconds before each reply, of a unit or of one of its blocks (unit,
    address), and the addresses of registers that do not exist, with an exception that says so or without a word.
    `reads` counts requests per unit.
    """

    def __init__(self, units: list[int], port: int | None = None) -> None:
        self.port = port or free_port()
        self.delay_s: dict[int | tuple[int, int], float] = {}
        self.refuse: dict[int, set[int]] = {}
        self.ignore: dict[int, set[int]] = {}
        self.reads: list[tuple[int, int, int]] = []
        self.registers: dict[int, dict[int, int]] = {unit: {} for unit in units}
        self.before_reply: Callable[[int, int, int], None] = lambda unit, address, count: None
        self._units = units

    def count(self, unit: int, address: int) -> list[tuple[int, int]]:
        """Make the float32 at `address` count replies, 0.001 each; what was served: (time in microseconds, count)."""
        served: list[tuple[int, int]] = []
        before = self.before_reply

        def before_reply(of_unit: int, of_address: int, count: int) -> None:
            before(of_unit, of_address, count)
            if of_unit == unit and of_address <= address < of_address + count:
                served.append((time.time_ns() // 1000, len(served) + 1))
                self.set_float(unit, address, len(served) / 1000)

        self.before_reply = before_reply
        return served

    def set_float(self, unit: int, address: int, value: float) -> None:
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        self.registers[unit] |= {address: high, address + 1: low}

    def __enter__(self) -> "ModbusMeters":
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def _device(self, unit: int) -> SimDevice:
        async def action(
            _function: int, start: int, address: int, count: int, current: list[int], _values: object
        ) -> ExcCodes | None:
            self.reads.append((unit, address, count))
            if self.ignore.get(unit, set()) & set(range(address, address + count)):
                await asyncio.sleep(60.0)
            if delay_s := self.delay_s.get((unit, address), self.delay_s.get(unit)):
                await asyncio.sleep(delay_s)
            self.before_reply(unit, address, count)
            if self.refuse.get(unit, set()) & set(range(address, address + count)):
                return ExcCodes.ILLEGAL_ADDRESS
            for at, word in self.registers[unit].items():
                current[at - start] = word
            return None

        registers = SimData(0, values=[0] * 0x6000, datatype=DataType.REGISTERS)
        return SimDevice(unit, simdata=[registers], action=action)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = ModbusTcpServer([self._device(unit) for unit in self._units], address=("127.0.0.1", self.port))
        await server.serve_forever(background=True)
        self._ready.set()
        await self._stop.wait()
        await server.shutdown()


class EdgeProcess:
    """`segs-edge run` as a process of its own, in `folder`. `meters` are its [[modbus]] and [[mqtt]] tables."""

    def __init__(
        self,
        *,
        folder: Path,
        receiver_url: str,
        meters: str,
        commit_interval_s: float = 0.5,
        metrics_port: int = 0,
    ) -> None:
        self.config = folder / "gateway.toml"
        self.data_dir = folder / "data"
        self.commit_interval_s = commit_interval_s
        self._log = folder / "edge.log"
        (folder / "gateway.key").write_text("segs_secret")
        self.config.write_text(
            f"""
[gateway]
name = "site"
data_dir = "data"
stop_timeout_s = 5
[uplink]
url = "{receiver_url}"
key_file = "gateway.key"
send_interval_s = 0.2
timeout_s = 2
[buffer]
commit_interval_s = {commit_interval_s}
[metrics]
port = {metrics_port}
{meters}
"""
        )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", str(self.config)],
                stderr=log,
                env=os.environ | (environment or {}),
            )
        return self.process

    def kill(self) -> int:
        """kill -9; the time, in microseconds."""
        self.process.kill()
        killed_us = time.time_ns() // 1000
        self.process.wait(5)
        return killed_us

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(15)

    def status(self) -> Any:
        command = [sys.executable, "-m", "edge", "status", "--config", str(self.config), "--json"]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)


def modbus_table(port: int, units: Sequence[int], *, interval_s: float = 0.1, timeout_s: float = 0.5) -> str:
    devices = "".join(
        f"""
  [[modbus.device]]
  id = "meter-{unit}"
  unit = {unit}
  profile = "eastron-sdm630"
  interval_s = {interval_s}
  timeout_s = {timeout_s}
"""
        for unit in units
    )
    return f'[[modbus]]\nhost = "127.0.0.1"\nport = {port}\n{devices}'


def mqtt_table(port: int, topic: str = "tele/plug/SENSOR") -> str:
    return f"""
[[mqtt]]
host = "127.0.0.1"
port = {port}
client_id = "site"
  [[mqtt.device]]
  id = "plug"
  profile = "tasmota"
  topic = "{topic}"
  interval_s = 1
"""
