"""From a broker's queue to a committed reading, at QoS 1, against a bare paho client that only parses the JSON."""

import asyncio
import json
import multiprocessing
import os
import socket
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from bench.result import Result
from edge.buffer.limits import Limits
from edge.buffer.queue import BufferQueue
from edge.buffer.store import Store
from edge.clock import Clock
from edge.drivers.mqtt.broker import BrokerClient
from edge.drivers.mqtt.connection import Login
from edge.drivers.mqtt.device import MqttDevice
from edge.profiles import catalog
from local.servers import MosquittoBroker

_METERS = 50
# All in memory, and a window as wide as the protocol allows: the broker is to wait for nothing but the client.
_BROKER = """\
persistence false
autosave_on_changes false
max_inflight_messages 65535
"""


def run(*, messages: int, rounds: int, home: Path) -> Result:
    """`rounds` rounds of `messages` messages, ours and the peer's in turn, each the queue of a session that was away.

    The client has one core to itself, with all its threads; the broker has the others.
    """
    ours, peers = [], []
    with TemporaryDirectory(dir=home, prefix="bench-") as folder:
        broker = MosquittoBroker(data_dir=Path(folder) / "broker", bound_to_parent=True, settings=_BROKER)
        with broker:
            cores = sorted(os.sched_getaffinity(0))
            if broker.pid is not None and len(cores) > 1:
                os.sched_setaffinity(broker.pid, cores[:-1])
            for number in range(rounds):
                data_dir = Path(folder) / f"ours_{number}"
                data_dir.mkdir()
                ours.append(messages / _timed(_gateway, broker.port, f"ours_{number}", messages, data_dir))
                peers.append(messages / _timed(_bare, broker.port, f"peer_{number}", messages, data_dir))
    return Result(
        name="mqtt",
        unit="messages/s",
        figures=ours,
        peer="paho, QoS 1, json.loads only",
        peer_figures=peers,
        at_least=0.4,
    )


def _timed(
    client: Callable[[int, str, int, Path], float], port: int, client_id: str, messages: int, data_dir: Path
) -> float:
    """Seconds that `client` takes in a process of its own for the queue that waits for it."""
    _fill(port, client_id, messages)
    spawn = multiprocessing.get_context("spawn")
    result, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_pinned, args=(client, port, client_id, messages, data_dir, there))
    process.start()
    there.close()
    try:
        return float(result.recv())
    finally:
        process.join()


def _pinned(
    client: Callable[[int, str, int, Path], float],
    port: int,
    client_id: str,
    messages: int,
    data_dir: Path,
    result: Connection,
) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result.send(client(port, client_id, messages, data_dir))


def _topic(meter: int) -> str:
    return f"tele/plug-{meter}/SENSOR"


def _payload(number: int) -> bytes:
    moment = datetime.fromtimestamp(time.time() - 3600 + number // _METERS * 0.001, UTC)
    energy = {"TotalStartTime": "2026-01-01T00:00:00", "Total": round(1000 + number / 1000, 3), "Yesterday": 1.92}
    energy |= {"Power": number % 3000, "ApparentPower": number % 3000 + 5, "Factor": 0.97, "Voltage": 231}
    energy |= {"Current": round(number % 3000 / 231, 3)}
    return json.dumps({"Time": moment.strftime("%FT%T"), "ENERGY": energy}).encode()


def _fill(port: int, client_id: str, messages: int) -> None:
    """Make the session of `client_id` and let `messages` wait in it, published at QoS 1."""
    session = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    ready = []
    session.on_connect = lambda client, *_: client.subscribe([(_topic(meter), 1) for meter in range(_METERS)])
    session.on_subscribe = lambda *_: ready.append(True)
    session.connect("127.0.0.1", port)
    while not ready:
        session.loop(1.0)
    session.disconnect()
    packets = []
    for number in range(messages):
        topic = _topic(number % _METERS).encode()
        body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 60_000 + 1) + _payload(number)
        packets.append(b"\x32" + bytes((len(body) & 0x7F | 0x80, len(body) >> 7)) + body)
    connect = b"\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench"
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(bytes((0x10, len(connect))) + connect)
        line.recv(4, socket.MSG_WAITALL)
        for first in range(0, messages, 500):
            some = packets[first : first + 500]
            line.sendall(b"".join(some))
            line.recv(4 * len(some), socket.MSG_WAITALL)
        line.sendall(b"\xe0\x00")


def _bare(port: int, client_id: str, messages: int, _data_dir: Path) -> float:
    """A client that parses and does nothing with it; the library acknowledges each message as it hands it over."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    count = 0

    def on_message(client: Client, _userdata: object, message: MQTTMessage) -> None:
        nonlocal count
        json.loads(message.payload)
        count += 1
        if count == messages:
            client.disconnect()

    client.on_message = on_message
    client.connect("127.0.0.1", port)
    started_s = time.perf_counter()
    client.loop_forever()
    return time.perf_counter() - started_s


def _gateway(port: int, client_id: str, messages: int, data_dir: Path) -> float:
    """The gateway's driver and buffer; done when the last reading is committed."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_committed(port, client_id, messages, data_dir))


async def _committed(port: int, client_id: str, messages: int, data_dir: Path) -> float:
    clock, stop, drained = Clock(), asyncio.Event(), asyncio.Event()
    store = Store(path=data_dir / "buffer.sqlite", clock=clock, limits=Limits(max_bytes=2**30))
    await store.open()
    queue = BufferQueue(store=store, clock=clock, commit_interval_s=1.0, commit_readings=2_000, memory_readings=20_000)
    devices = [
        MqttDevice(
            id=f"plug-{meter}",
            topic=_topic(meter),
            profile=catalog.mqtt("tasmota"),
            interval_s=1.0,
            zone=ZoneInfo("UTC"),
        )
        for meter in range(_METERS)
    ]
    login = Login(host="127.0.0.1", port=port, client_id=client_id)
    bus = BrokerClient(login=login, devices=devices, sink=queue, clock=clock)
    async with asyncio.TaskGroup() as group:
        started_s = time.perf_counter()
        async with bus:
            group.create_task(bus.run(stop), name="mqtt")
            group.create_task(queue.run(drained), name="buffer")
            while queue.state.committed < messages:
                queue.news.clear()
                await queue.news.wait()
            took_s = time.perf_counter() - started_s
            stop.set()
        drained.set()
    await store.close()
    if (bus.state.messages, bus.state.rejected, queue.state.committed) != (messages, 0, messages):
        raise RuntimeError(f"{bus.state} and {queue.state}, not {messages} messages and as many readings")
    return took_s
