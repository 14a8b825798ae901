"""One connection to a broker: messages at their scheduled instants, kept by the client until they are acknowledged."""

import asyncio
import contextlib
import heapq
import socket
from collections import deque
from collections.abc import Sequence

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from firmware_sim.clock import Clock, now_us
from firmware_sim.dialects.dialect import Message, Number
from firmware_sim.errors import JournalError
from firmware_sim.journal import Journal
from firmware_sim.mqtt.publisher import Compose, Publisher

# What a stall leaves behind is published late, as a device's queue would; beyond this the device was off.
_CATCH_UP_US = 60 * 10**6
_FLUSH_TIMEOUT_S = 5.0
_KEEPALIVE_S = 30


class MqttEndpoint:
    """The meters that publish over one connection; with a will it is the will of the first.

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
        self.place = f"{host}:{port} {client_id}"
        self._host, self._port = host, port
        self._publishers, self._journal, self._clock = publishers, journal, clock
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self._client.max_inflight_messages_set(0)
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(1, 2)
        self._client.on_pre_connect = self._on_pre_connect
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._connected, self._progress, self._wake = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._error: JournalError | None = None
        self._away = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seq: dict[str, int] = {}
        # By the client's number those of the journal; none for what is no reading.
        self._unacknowledged: dict[int, list[tuple[str, int]]] = {}
        # Filled by the client's thread, emptied by ours: a lock held during publish() would deadlock with it.
        self._acknowledged: deque[int] = deque()
        for publisher in publishers:
            publisher.faults.changed = self._wake.set

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker has not acknowledged so far."""
        self._take_acknowledgements()
        return len(self._unacknowledged)

    async def __aenter__(self) -> "MqttEndpoint":
        self._loop = asyncio.get_running_loop()
        self._come()
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
        schedules = [(publisher, schedule) for publisher in self._publishers for schedule in publisher.schedules]
        due = [
            (t_us + schedule.delay_us, number, t_us)
            for number, (_, schedule) in enumerate(schedules)
            for t_us in [schedule.after(start_us)]
        ]
        heapq.heapify(due)
        while self._error is None:
            now = self._clock()
            while due[0][0] <= now:
                _, number, t_us = due[0]
                publisher, schedule = schedules[number]
                if now - t_us < _CATCH_UP_US:
                    self._publish(publisher, schedule.compose, t_us)
                t_us = schedule.after(max(t_us, now - _CATCH_UP_US))
                heapq.heapreplace(due, (t_us + schedule.delay_us, number, t_us))
            self._take_acknowledgements()
            change_us = await self._break_or_mend(now)
            until_us = due[0][0] if change_us is None else min(due[0][0], change_us)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(until_us - self._clock(), 0) / 1e6):
                    await self._wake.wait()
            self._wake.clear()
        raise self._error

    async def _break_or_mend(self, now: int) -> int | None:
        """Leave the broker, or come back, as the faults have it; when that may change."""
        faulty = [publisher.faults for publisher in self._publishers if publisher.faults]
        breaks = next((found for faults in faulty if (found := faults.lasting("disconnect", now))), None)
        if breaks is not None and not self._away:
            self._away = True
            await self._leave(clean=breaks.spec.variant == "clean")
        elif breaks is None and self._away:
            self._away = False
            self._come()
        return min((at for faults in faulty if (at := faults.next_change_us(now)) is not None), default=None)

    def _publish(self, publisher: Publisher, compose: Compose, t_us: int) -> None:
        if publisher.dialect.own_connection and not self._connected.is_set():
            # A birth has to come first, and there is none before the connection.
            return
        for message in publisher.messages(compose, t_us):
            self._send(publisher.meter.name, message)

    def _send(self, name: str, message: Message) -> None:
        self._take_acknowledgements()
        # The meters of a device are called as the gateway calls them: meter/1, meter/2.
        meters = {name: message.values} | {f"{name}/{number}": values for number, values in message.channels.items()}
        told = [(meter, self._journaled(meter, message, values)) for meter, values in meters.items() if values]
        info = self._client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE or (message.qos == 0 and info.rc):
            # All 65,535 message numbers wait for the broker, or nobody keeps it: it was never handed over.
            for meter, seq in told:
                self._journal.withdrawn(t_us=self._clock(), meter=meter, seq=seq)
        elif message.qos:
            self._unacknowledged[info.mid] = told

    def _journaled(self, meter: str, message: Message, values: dict[str, Number]) -> int:
        """The number of what the journal says before it is handed over: from then on somebody may have it."""
        seq = self._seq[meter] = self._seq.get(meter, 0) + 1
        self._journal.published(
            t_us=self._clock(), meter=meter, seq=seq, device_time_us=message.device_time_us, values=values
        )
        return seq

    def _take_acknowledgements(self) -> None:
        while self._acknowledged:
            for meter, seq in self._unacknowledged.pop(self._acknowledged.popleft(), []):
                self._journal.acknowledged(t_us=self._clock(), meter=meter, seq=seq)

    async def _finish(self) -> None:
        if self._connected.is_set():
            self._say_goodbye()
        await self._flush()
        await self._stop()
        self._take_acknowledgements()
        for told in self._unacknowledged.values():
            for meter, seq in told:
                self._journal.withdrawn(t_us=self._clock(), meter=meter, seq=seq)

    async def _flush(self) -> None:
        """Waits for acknowledgements, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                while self.unacknowledged:
                    await self._progress.wait()
                    self._progress.clear()

    def _come(self) -> None:
        self._client.connect_async(self._host, self._port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    async def _leave(self, *, clean: bool) -> None:
        if clean:
            self._say_goodbye()
            # What stays without an acknowledgement would come again before the next birth.
            await self._flush()
            await self._stop()
            return
        line = self._client.socket()
        if isinstance(line, socket.socket):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(self._client.loop_stop)

    async def _stop(self) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _say_goodbye(self) -> None:
        for publisher in self._publishers:
            for message in publisher.messages(publisher.dialect.on_disconnect, self._now_us(publisher)):
                self._send(publisher.meter.name, message)

    def _greet(self) -> None:
        """On a new connection, births before anything else."""
        try:
            for publisher in self._publishers:
                for topic in publisher.dialect.subscriptions(publisher.meter):
                    self._client.subscribe(topic, qos=1)
                for message in publisher.messages(publisher.dialect.on_connect, self._now_us(publisher)):
                    self._send(publisher.meter.name, message)
        except JournalError as error:
            self._fail(error)
        self._connected.set()

    def _hear(self, topic: str, payload: bytes | bytearray) -> None:
        try:
            for publisher in self._publishers:
                filters = publisher.dialect.subscriptions(publisher.meter)
                if any(paho.topic_matches_sub(wanted, topic) for wanted in filters):
                    t_us = self._now_us(publisher)
                    for message in publisher.dialect.on_message(publisher.meter, topic, bytes(payload), t_us):
                        self._send(publisher.meter.name, message)
        except JournalError as error:
            self._fail(error)

    def _fail(self, error: JournalError) -> None:
        self._error = self._error or error
        self._wake.set()

    def _now_us(self, publisher: Publisher) -> int:
        """Now, as exact as the meter's clock is."""
        return self._clock() // publisher.dialect.clock_us * publisher.dialect.clock_us

    # What follows runs in the client's thread.

    def _on_pre_connect(self, _client: paho.Client, _data: object) -> None:
        first = self._publishers[0]
        will = first.dialect.will(first.meter, self._now_us(first))
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)

    def _on_connect(
        self, _client: paho.Client, _data: object, _flags: paho.ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if not reason.is_failure and self._loop is not None:
            self._loop.call_soon_threadsafe(self._greet)

    def _on_disconnect(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._connected.clear)

    def _on_publish(
        self, _client: paho.Client, _data: object, mid: int, _reason: ReasonCode, _properties: Properties
    ) -> None:
        self._acknowledged.append(mid)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._progress.set)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hear, message.topic, message.payload)
