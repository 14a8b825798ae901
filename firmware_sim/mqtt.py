"""MQTT meters: messages at their scheduled instants, QoS 1, kept by the client until the broker acknowledges them."""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from firmware_sim.dialects.dialect import Message
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.modbus import Clock, now_us

# What a stall leaves behind is published late, as a device's queue would; beyond this the device was off.
_CATCH_UP_US = 60 * 10**6
_FLUSH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Publisher:
    """`compose(meter, t_us)` is published for every t_us = n * `interval_us` + `offset_us`, `delay_us` after it.

    The delays spread the meters of an endpoint over the interval; the payload's clock does not show them.
    """

    meter: Meter
    compose: Callable[[Meter, int], Sequence[Message]]
    interval_us: int
    offset_us: int = 0
    delay_us: int = 0

    def after(self, t_us: int) -> int:
        """The first scheduled instant after `t_us`."""
        return ((t_us - self.offset_us) // self.interval_us + 1) * self.interval_us + self.offset_us


class MqttEndpoint:
    """The meters that publish to one broker, over one connection.

    An async context manager: entering waits for the broker, however long that takes; leaving waits up to 5 s for
    acknowledgements and writes what stayed without one into the journal. In between, `run` publishes.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        publishers: Sequence[Publisher],
        journal: Journal,
        clock: Clock = now_us,
    ) -> None:
        self.host, self.port = host, port
        self._publishers, self._journal, self._clock = publishers, journal, clock
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self._client.max_inflight_messages_set(0)
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._connected, self._progress = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seq: dict[str, int] = {}
        self._unacknowledged: dict[int, tuple[str, int]] = {}
        # Filled by the client's thread, emptied by ours: a lock held during publish() would deadlock with it.
        self._acknowledged: deque[int] = deque()

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker has not acknowledged so far."""
        self._take_acknowledgements()
        return len(self._unacknowledged)

    async def __aenter__(self) -> "MqttEndpoint":
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self.host, self.port, keepalive=30)
        self._client.loop_start()
        try:
            await self._connected.wait()
        except asyncio.CancelledError:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self._finish())

    async def run(self) -> None:
        """Publishes until cancelled. Raises JournalError."""
        start_us = self._clock()
        due: list[tuple[int, int, int]] = []
        for number, publisher in enumerate(self._publishers):
            t_us = publisher.after(start_us)
            heapq.heappush(due, (t_us + publisher.delay_us, number, t_us))
        while True:
            now = self._clock()
            while due[0][0] <= now:
                _, number, t_us = due[0]
                publisher = self._publishers[number]
                if now - t_us < _CATCH_UP_US:
                    self._publish(publisher, t_us)
                t_us = publisher.after(max(t_us, now - _CATCH_UP_US))
                heapq.heapreplace(due, (t_us + publisher.delay_us, number, t_us))
            self._take_acknowledgements()
            await asyncio.sleep((due[0][0] - now) / 1e6)

    def _publish(self, publisher: Publisher, t_us: int) -> None:
        for message in publisher.compose(publisher.meter, t_us):
            self._send(publisher.meter.name, message)

    def _send(self, name: str, message: Message) -> None:
        self._take_acknowledgements()
        info = self._client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        if not message.values or info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            # All 65,535 message numbers wait for the broker. The device drops this one: it was never handed over.
            # Nor is a message without values anybody's reading.
            return
        seq = self._seq[name] = self._seq.get(name, 0) + 1
        self._unacknowledged[info.mid] = (name, seq)
        self._journal.published(
            t_us=self._clock(), meter=name, seq=seq, device_time_us=message.device_time_us, values=message.values
        )

    def _take_acknowledgements(self) -> None:
        while self._acknowledged:
            self._unacknowledged.pop(self._acknowledged.popleft(), None)

    async def _finish(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                while self.unacknowledged:
                    await self._progress.wait()
                    self._progress.clear()
        await self._stop()
        self._take_acknowledgements()
        for name, seq in self._unacknowledged.values():
            self._journal.withdrawn(t_us=self._clock(), meter=name, seq=seq)

    async def _stop(self) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _on_connect(
        self, _client: paho.Client, _data: object, _flags: paho.ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if not reason.is_failure and self._loop is not None:
            self._loop.call_soon_threadsafe(self._connected.set)

    def _on_publish(
        self, _client: paho.Client, _data: object, mid: int, _reason: ReasonCode, _properties: Properties
    ) -> None:
        self._acknowledged.append(mid)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._progress.set)
