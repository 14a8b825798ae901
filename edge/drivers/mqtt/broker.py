"""Meters that publish: one client per broker, a session that outlives the daemon, acknowledged once committed."""

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec
import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv311, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import STEP_S, Clock, signalled
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.sink import Sink
from edge.errors import EdgeError, PayloadError
from edge.reading import Delivery
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.mqtt")
_RECONNECT_S = (0.5, 30.0)


class BrokerDied(EdgeError):
    """The client's thread ended although nobody asked it to."""


class BrokerState(msgspec.Struct):
    """What came from one broker since the daemon started, in messages."""

    broker: str
    connected: bool = False
    messages: int = 0
    rejected: int = 0
    repeated: int = 0
    retained_without_time: int = 0
    without_readings: int = 0


class MqttBus:
    """The client of one broker, an async context manager: it connects on entry, and on exit leaves its session behind.

    Leave the context only after the sink has committed, so that what was committed is acknowledged as well.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: str,
        devices: Sequence[MqttDevice],
        sink: Sink,
        clock: Clock,
        keepalive_s: int = 30,
        username: str | None = None,
        password: str | None = None,
        moving: Callable[[], None] = lambda: None,
        jitter: random.Random | None = None,
    ) -> None:
        self.devices = tuple(devices)
        self.state = BrokerState(broker=f"{host}:{port}")
        self._host, self._port, self._client_id, self._keepalive_s = host, port, client_id, keepalive_s
        self._sink, self._clock, self._moving = sink, clock, moving
        self._jitter = jitter or random.Random()
        self._repeats = Repeats(clock=clock)
        self._by_topic = {device.topic: device for device in self.devices}
        self._attempt = 0
        # Counts connections: a message may only be acknowledged on the connection that brought it.
        self._connection = 0
        self._open: dict[int, tuple[Delivery, asyncio.Future[None]]] = {}
        self._taking = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, protocol=MQTTv311, manual_ack=True
        )
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    async def __aenter__(self) -> "MqttBus":
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(self._host, self._port, self._keepalive_s)
        self._client.loop_start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._taking = False
        # What has just been committed is acknowledged by callbacks that the loop has yet to run.
        await asyncio.sleep(0)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch the client until `stop` is set, then take no more messages. Raises BrokerDied."""
        while not await signalled(stop, STEP_S):
            thread = self._client._thread
            if thread is None or not thread.is_alive():
                raise BrokerDied(f"the MQTT client of {self.state.broker} ended by itself")
            self._moving()
        self._taking = False

    # The client's thread calls these; they only pass on to the event loop.

    def _on_connect(
        self, client: Client, _userdata: object, flags: ConnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if reason.is_failure:
            self._draw_delay()
            self._tell(self._refused, str(reason))
            return
        self._attempt = 0
        self._connection += 1
        client.subscribe([(device.topic, 1) for device in self.devices])
        self._tell(self._connected, flags.session_present)

    def _on_connect_fail(self, _client: Client, _userdata: object) -> None:
        self._draw_delay()
        self._tell(self._refused, "cannot be reached")

    def _on_disconnect(
        self, _client: Client, _userdata: object, _flags: DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        self._draw_delay()
        self._tell(self._disconnected, str(reason))

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self._tell(self._received, self._connection, message)

    def _tell(self, callback: Callable[..., None], *details: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *details)

    def _draw_delay(self) -> None:
        # Drawn anew for each attempt: a fleet that lost its broker together does not come back together.
        shortest_s, longest_s = _RECONNECT_S
        delay_s = self._jitter.uniform(0.1, min(longest_s, shortest_s * 2.0 ** min(self._attempt, 16)))
        self._attempt += 1
        self._client.reconnect_delay_set(delay_s, delay_s)  # type: ignore[arg-type] # it says int, and takes what wait() takes

    # From here on in the event loop.

    def _connected(self, session_present: bool) -> None:
        self.state.connected = True
        self._repeats.over(self.state.broker)
        _LOG.info("broker connected", broker=self.state.broker, session_present=session_present)

    def _refused(self, reason: str) -> None:
        self.state.connected = False
        if (count := self._repeats.due(self.state.broker)) is not None:
            _LOG.warning("broker refused", broker=self.state.broker, reason=reason, attempts_not_logged=count)

    def _disconnected(self, reason: str) -> None:
        self.state.connected = False
        if self._taking and (count := self._repeats.due(self.state.broker)) is not None:
            _LOG.warning("broker lost", broker=self.state.broker, reason=reason, losses_not_logged=count)

    def _received(self, connection: int, message: MQTTMessage) -> None:
        if not self._taking:
            return  # Not acknowledged, so the broker keeps it for the next start.
        self.state.messages += 1
        if message.qos == 0:
            self._take(message, None)
            return
        delivery = Delivery.of(self._client_id, message.mid, message.topic, bytes(message.payload))
        if message.dup:
            known = self._open.get(message.mid)
            if known is not None and known[0] == delivery:
                self.state.repeated += 1
                known[1].add_done_callback(lambda future: self._settled(connection, delivery, future))
                return
            if self._sink.committed(delivery):
                self.state.repeated += 1
                self._acknowledge(connection, message.mid)
                return
        future = self._take(message, delivery)
        self._open[message.mid] = (delivery, future)
        future.add_done_callback(lambda future: self._settled(connection, delivery, future))

    def _settled(self, connection: int, delivery: Delivery, future: asyncio.Future[None]) -> None:
        known = self._open.get(delivery.message_id)
        if known is not None and known[1] is future:
            del self._open[delivery.message_id]
        if not future.cancelled():
            self._acknowledge(connection, delivery.message_id)

    def _acknowledge(self, connection: int, message_id: int) -> None:
        if connection == self._connection:
            self._client.ack(message_id, 1)

    def _take(self, message: MQTTMessage, delivery: Delivery | None) -> asyncio.Future[None]:
        """Hand the readings of `message` to the sink, or the message itself when there is no reading it."""
        now_us = self._clock.now_us()
        device = self._device(message.topic)
        if device is None:
            return self._reject(message, "no device is configured for this topic", delivery)
        try:
            said = device.decode(message.topic, bytes(message.payload), now_us)
        except PayloadError as error:
            return self._reject(message, str(error), delivery)
        if message.retain and said.time_us is None:
            # Published at some unknown time before: nothing that could be put on a time axis.
            self.state.retained_without_time += 1
            return self._nothing_to_commit()
        readings = device.readings(said, now_us)
        if not readings:
            self.state.without_readings += 1
            return self._nothing_to_commit()
        return self._sink.put(readings, delivery=delivery)

    def _reject(self, message: MQTTMessage, reason: str, delivery: Delivery | None) -> asyncio.Future[None]:
        self.state.rejected += 1
        if (count := self._repeats.due(f"rejected {self.state.broker}")) is not None:
            _LOG.warning("message rejected", topic=message.topic, reason=reason, rejections_not_logged=count)
        return self._sink.reject(message.topic, bytes(message.payload), reason, delivery=delivery)

    def _device(self, topic: str) -> MqttDevice | None:
        if topic in self._by_topic:
            return self._by_topic[topic]
        return next((device for device in self.devices if topic_matches_sub(device.topic, topic)), None)

    def _nothing_to_commit(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future
