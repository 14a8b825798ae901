"""From a broker's messages to readings that are committed, and from these to acknowledgements."""

import asyncio
import functools
from collections.abc import Sequence

import structlog

from edge.clock import Clock
from edge.drivers.mqtt.connection import Connection
from edge.drivers.mqtt.delivery import Deliveries, Entry
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.mqtt.packets import Message
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.mqtt.topics import Topics
from edge.drivers.mqtt.window import Window
from edge.drivers.sink import Sink
from edge.errors import PayloadError
from edge.frames import Frame, MqttFrame, frames
from edge.profiles.payload.rebirth import Rebirths
from edge.profiles.payload.said import Said
from edge.reading import Delivery, Reading
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.mqtt")
# Readings of one burst that are committed together: not more than a commit's group may have.
_MOST_TOGETHER = 500


class _Burst:
    """What one read of the socket brought: readings that are committed together, and the messages they came in.

    What is stamped by the gateway's clock is stamped by one that is `offset_us` ahead of the monotonic one.
    """

    __slots__ = ("entries", "frames", "offset_us", "readings", "unacknowledged")

    def __init__(self, offset_us: int) -> None:
        self.offset_us = offset_us
        self.readings: list[Reading] = []
        self.frames: list[Frame] = []
        self.entries: list[Entry] = []
        # At QoS 0 nobody waits for a commit: under pressure such readings may be given up, the others may not.
        self.unacknowledged: list[Reading] = []


class Intake:
    """Takes what the connections of one client bring, one after another.

    With `keep_frames` a message that is a reading by itself goes with it as it came.
    """

    def __init__(
        self,
        *,
        client_id: str,
        devices: Sequence[MqttDevice],
        sink: Sink,
        clock: Clock,
        state: BrokerState,
        keep_frames: bool = False,
    ) -> None:
        self.topics = Topics(devices)
        self.taking = True
        self._keep_frames = keep_frames
        self._client, self._devices, self._sink, self._clock, self._state = client_id, devices, sink, clock, state
        self._repeats = Repeats(clock=clock)
        self._deliveries = Deliveries()
        self._rebirths = Rebirths(clock=clock)
        self._window = Window(sink.hurry)
        self._connection: Connection | None = None
        self._acknowledging = False

    def adopt(self, connection: Connection) -> None:
        """What comes belongs to `connection` from now on. Messages may come with its greeting, so twice is no fault."""
        if connection is not self._connection:
            self._connection = connection
            self._deliveries.connected()
            self._window.connected(connection)

    def stop(self) -> None:
        """Take no more, and put what is being gathered."""
        self.taking = False
        for device in self._devices:
            self._close_gathering(device)

    def close(self) -> None:
        self._window.close()
        for device in self._devices:
            device.gathering.cancel()

    def received(self, connection: Connection, messages: list[Message]) -> None:
        """What one read of the socket brought."""
        if not self.taking:
            return  # Not acknowledged, so the broker keeps them for the next start.
        self.adopt(connection)
        self._state.messages += len(messages)
        self._window.took(len(messages))
        offset_us, client = self._clock.offset_us(), self._client
        now_us, burst = self._clock.boottime_us() + offset_us, _Burst(offset_us)
        for message in messages:
            entry = None
            if message.qos:
                delivery = Delivery.of(client, message.id, message.topic, message.payload)
                # In a session that went on, an id that waits is not free for another message, whether or not the
                # broker marks the repetition as one.
                if (message.dup or connection.accepted.session_present) and self._deliveries.repeated(delivery):
                    self._state.repeated += 1
                    continue
                if message.dup and self._sink.committed(delivery):
                    self._state.repeated += 1
                    self._deliveries.settle(self._deliveries.add(delivery), committed=True)
                    continue
                entry = self._deliveries.add(delivery)
            self._take(message, entry, now_us, burst)
            if len(burst.readings) >= _MOST_TOGETHER:
                self._put(burst)
                burst = _Burst(offset_us)
        self._put(burst)
        self._acknowledge_soon()

    def _take(self, message: Message, entry: Entry | None, now_us: int, burst: _Burst) -> None:
        """Add the readings of `message` to `burst`, or keep the message itself when there is no reading it."""
        device = self.topics.device(message.topic)
        if device is None:
            self._reject(message, "no device is configured for this topic", entry)
            return
        try:
            if message.cut:
                raise PayloadError(f"{message.cut} bytes, more than is read of one message")
            said = device.decode(message.topic, message.payload, now_us)
        except PayloadError as error:
            self._reject(message, str(error), entry)
            return
        if message.retain and said.time_us is None:
            # Published at some unknown time before: nothing that could be put on a time axis.
            self._state.retained_without_time += 1
            self._nothing_to_commit(entry)
            return
        if said.needs_rebirth:
            self._ask_for_rebirth(message.topic)
            if not said.channels:
                self._reject(message, "the names of its metrics are not known; a rebirth was asked for", entry)
                return
        if said.partial and device.gathering.gather_s:
            self._gather(device, said, entry, now_us, burst)
            return
        readings = device.readings(said, now_us)
        if not readings:
            self._state.without_readings += 1
            self._nothing_to_commit(entry)
        elif entry is None:
            burst.unacknowledged += readings
        else:
            burst.readings += readings
            burst.entries.append(entry)
            if self._keep_frames:
                burst.frames += frames(readings, MqttFrame(message.topic, message.payload))

    def _put(self, burst: _Burst) -> None:
        if burst.unacknowledged:
            self._sink.put(burst.unacknowledged, offset_us=burst.offset_us)
        if burst.readings:
            deliveries = [entry.delivery for entry in burst.entries]
            future = self._sink.put(
                burst.readings, offset_us=burst.offset_us, deliveries=deliveries, frames=burst.frames
            )
            future.add_done_callback(functools.partial(self._settled, burst.entries))

    def _gather(self, device: MqttDevice, said: Said, entry: Entry | None, now_us: int, burst: _Burst) -> None:
        if device.gathering.clashes(said):
            self._gathered(device, burst)
        device.gathering.add(said, entry, now_us - burst.offset_us, functools.partial(self._close_gathering, device))

    def _close_gathering(self, device: MqttDevice) -> None:
        if device.gathering.open:
            burst = _Burst(self._clock.offset_us())
            self._gathered(device, burst)
            self._put(burst)
            self._acknowledge_soon()

    def _gathered(self, device: MqttDevice, burst: _Burst) -> None:
        began_us = device.gathering.began_us + burst.offset_us
        said, entries = device.gathering.end()
        readings = device.readings(said, began_us)
        if entries and readings:
            burst.readings += readings
            burst.entries += entries
        elif readings:
            burst.unacknowledged += readings
        else:
            self._state.without_readings += 1
            for entry in entries:
                self._nothing_to_commit(entry)

    def _reject(self, message: Message, reason: str, entry: Entry | None) -> None:
        self._state.rejected += 1
        if (count := self._repeats.due(f"rejected {self._state.broker}")) is not None:
            _LOG.warning("message rejected", topic=message.topic, reason=reason, rejections_not_logged=count)
        delivery = None if entry is None else entry.delivery
        future = self._sink.reject(message.topic, message.payload, reason, delivery=delivery)
        if entry is not None:
            future.add_done_callback(functools.partial(self._settled, [entry]))

    def _nothing_to_commit(self, entry: Entry | None) -> None:
        if entry is not None:
            self._deliveries.settle(entry, committed=True)

    def _settled(self, entries: list[Entry], future: "asyncio.Future[None]") -> None:
        committed = not future.cancelled()
        for entry in entries:
            self._deliveries.settle(entry, committed=committed)
        self._acknowledge_soon()

    def _acknowledge_soon(self) -> None:
        # One commit settles many: they are acknowledged in one go.
        if not self._acknowledging:
            self._acknowledging = True
            asyncio.get_running_loop().call_soon(self.acknowledge)

    def acknowledge(self) -> None:
        """Acknowledge what is committed and, in the order of the messages, may be."""
        self._acknowledging = False
        connection, ids = self._connection, self._deliveries.due()
        if connection is None or not ids:
            return
        if self.taking:
            self._window.acknowledges()
        connection.acknowledge(ids)

    def _ask_for_rebirth(self, topic: str) -> None:
        request = self._rebirths.due(topic)
        if request is not None and self._connection is not None:
            _LOG.info("asks for rebirth", topic=request.topic)
            self._connection.publish(request.topic, request.payload)
