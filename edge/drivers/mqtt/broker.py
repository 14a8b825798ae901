"""Meters that publish: one client per broker, a session that outlives the daemon, acknowledged once committed."""

import asyncio
import functools
import random
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import structlog

from edge.clock import STEP_S, Clock, pause
from edge.drivers.mqtt.connection import Connection, Login
from edge.drivers.mqtt.delivery import Deliveries, Entry
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.mqtt.packets import Message
from edge.drivers.mqtt.rebirth import Rebirths
from edge.drivers.mqtt.topics import Topics
from edge.drivers.sink import Sink
from edge.errors import BrokerFault, PayloadError
from edge.profiles.payload.said import Said
from edge.reading import Delivery, Reading
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.mqtt")
_RECONNECT_S = (0.5, 30.0)
# A connection that lasted this long was good, and the next attempt is a first one again.
_LASTED_S = 30.0
_ASK_AGAIN_S = 60.0
# A broker whose window is full waits for us: looked for so long after an acknowledgement. No broker's is smaller.
_SMALLEST_WINDOW, _WINDOW_FULL_S = 10, 0.05
# Readings of one burst that are committed together: not more than a commit's group may have.
_MOST_TOGETHER = 500


class BrokerState(msgspec.Struct):
    """What came from one broker since the daemon started, in messages.

    `trouble` is why there is no connection, or what is wrong with it; `refused_topics` are subscriptions that the
    broker does not grant.
    """

    broker: str
    connected: bool = False
    messages: int = 0
    rejected: int = 0
    repeated: int = 0
    retained_without_time: int = 0
    without_readings: int = 0
    sessions_lost: int = 0
    trouble: str | None = None
    refused_topics: list[str] = []


class _Burst:
    """What one read of the socket brought: readings that are committed together, and the messages they came in."""

    __slots__ = ("entries", "readings", "unacknowledged")

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.entries: list[Entry] = []
        # At QoS 0 nobody waits for a commit: under pressure such readings may be given up, the others may not.
        self.unacknowledged: list[Reading] = []


class MqttBus:
    """The client of one broker, an async context manager: `run` connects, and exit leaves the session behind.

    Leave the context only after the sink has committed, so that what was committed is acknowledged as well.
    """

    def __init__(
        self,
        *,
        login: Login,
        devices: Sequence[MqttDevice],
        sink: Sink,
        clock: Clock,
        moving: Callable[[], None] = lambda: None,
        jitter: random.Random | None = None,
    ) -> None:
        self.devices = tuple(devices)
        self.state = BrokerState(broker=f"{login.host}:{login.port}")
        self._login, self._sink, self._clock, self._moving = login, sink, clock, moving
        self._jitter = jitter or random.Random()
        self._repeats = Repeats(clock=clock)
        self._topics = Topics(self.devices)
        self._deliveries = Deliveries()
        self._rebirths = Rebirths(clock=clock)
        self._attempt = 0
        self._had_session = False
        self._connection: Connection | None = None
        self._taking = True
        self._peak = self._seen = 0
        self._acknowledging = False
        self._look: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "MqttBus":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._taking = False
        # What has just been committed is acknowledged by callbacks that the loop has yet to run.
        await asyncio.sleep(0)
        self._acknowledge()
        if self._look is not None:
            self._look.cancel()
        for device in self.devices:
            device.gathering.cancel()
        if self._connection is not None:
            await self._connection.close()
            self.state.connected = False

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until `stop` is set, then take no more messages."""
        stopping = asyncio.create_task(stop.wait(), name=f"stop of {self.state.broker}")
        try:
            while not stop.is_set():
                self._moving()
                try:
                    if (connection := await self._open(stopping)) is not None:
                        await self._attend(connection, stopping)
                except BrokerFault as fault:
                    if self._connection is not None:
                        # The fault may be a missing answer: the connection stands, and would go on beside the next.
                        self._connection.abort(str(fault))
                    self._lost(str(fault))
                    await pause(stop, self._delay_s(), self._moving)
        finally:
            stopping.cancel()
            self._taking = False
            if self._connection is not None:
                self._connection.pause()
            for device in self.devices:
                self._close_gathering(device)

    async def _open(self, stopping: "asyncio.Task[Literal[True]]") -> Connection | None:
        """A new connection, None when it is time to stop. Raises BrokerFault."""
        opening = asyncio.create_task(Connection.open(self._login, self._received), name=f"to {self.state.broker}")
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait((opening,))
        return None if opening.cancelled() else opening.result()

    async def _attend(self, connection: Connection, stopping: "asyncio.Task[Literal[True]]") -> None:
        """Subscribe, and stay until it is time to stop. Raises BrokerFault when the connection is lost."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._greeted(connection)
        wanted, asked_s = list(self._topics.filters), float("-inf")
        while not stopping.done():
            self._moving()
            if wanted and loop.time() - asked_s >= _ASK_AGAIN_S:
                asked_s = loop.time()
                wanted = self._granted(await connection.subscribe(wanted))
            await asyncio.wait((connection.lost, stopping), timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
            if connection.lost.done():
                if loop.time() - began_s >= _LASTED_S:
                    self._attempt = 0
                raise BrokerFault(connection.lost.result())

    def _adopt(self, connection: Connection) -> None:
        # Messages may come with the greeting, before `open` is done with it.
        if connection is not self._connection:
            self._connection = connection
            self._deliveries.connected()
            self._peak = 0

    def _greeted(self, connection: Connection) -> None:
        self._adopt(connection)
        accepted = connection.accepted
        self.state.connected, self.state.trouble = True, None
        self._repeats.over(self.state.broker)
        lost = self._had_session and not accepted.session_present
        self._had_session = True
        _LOG.info(
            "broker connected",
            broker=self.state.broker,
            session_present=accepted.session_present,
            session_expiry_s=accepted.session_expiry_s,
        )
        if lost:
            self.state.sessions_lost += 1
            _LOG.warning("session lost by the broker; what was published while away is gone", broker=self.state.broker)
        if accepted.maximum_qos == 0:
            self.state.trouble = "the broker has QoS 0 only: what is published while the gateway is away is lost"
        elif accepted.session_expiry_s == 0:
            self.state.trouble = "the broker keeps no session: what is published while the gateway is away is lost"

    def _granted(self, codes: dict[str, int]) -> list[str]:
        """Note what the broker did not grant; the filters to ask for again."""
        refused = [topic for topic, code in codes.items() if code >= 0x80]
        weak = [topic for topic, code in codes.items() if code == 0]
        self.state.refused_topics = refused
        if refused:
            self.state.trouble = f"subscription refused: {', '.join(refused)}"
        elif weak:
            self.state.trouble = f"granted at QoS 0 only, what is published while away is lost: {', '.join(weak)}"
        elif self.state.trouble and self.state.trouble.startswith("subscription refused"):
            self.state.trouble = None
        if self.state.trouble and (count := self._repeats.due(f"granted {self.state.broker}")) is not None:
            _LOG.warning(
                "subscription", broker=self.state.broker, trouble=self.state.trouble[:1_000], times_not_logged=count
            )
        return refused

    def _lost(self, reason: str) -> None:
        self.state.connected, self.state.trouble, self.state.refused_topics = False, reason, []
        if (count := self._repeats.due(self.state.broker)) is not None:
            _LOG.warning("broker not connected", broker=self.state.broker, reason=reason, times_not_logged=count)

    def _delay_s(self) -> float:
        # Drawn anew for each attempt: a fleet that lost its broker together does not come back together.
        shortest_s, longest_s = _RECONNECT_S
        delay_s = self._jitter.uniform(0.1, min(longest_s, shortest_s * 2.0 ** min(self._attempt, 16)))
        self._attempt += 1
        return delay_s

    # A burst of messages, in the event loop.

    def _received(self, connection: Connection, messages: list[Message]) -> None:
        if not self._taking:
            return  # Not acknowledged, so the broker keeps them for the next start.
        self._adopt(connection)
        self.state.messages += len(messages)
        now_us, burst, client = self._clock.now_us(), _Burst(), self._login.client_id
        for message in messages:
            entry = None
            if message.qos:
                delivery = Delivery.of(client, message.id, message.topic, message.payload)
                # In a session that went on, an id that waits is not free for another message, whether or not the
                # broker marks the repetition as one.
                if (message.dup or connection.accepted.session_present) and self._deliveries.repeated(delivery):
                    self.state.repeated += 1
                    continue
                if message.dup and self._sink.committed(delivery):
                    self.state.repeated += 1
                    self._deliveries.settle(self._deliveries.add(delivery), committed=True)
                    continue
                entry = self._deliveries.add(delivery)
            self._take(message, entry, now_us, burst)
            if len(burst.readings) >= _MOST_TOGETHER:
                self._put(burst)
                burst = _Burst()
        self._put(burst)
        self._acknowledge_soon()

    def _take(self, message: Message, entry: Entry | None, now_us: int, burst: _Burst) -> None:
        """Add the readings of `message` to `burst`, or keep the message itself when there is no reading it."""
        device = self._topics.device(message.topic)
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
            self.state.retained_without_time += 1
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
            self.state.without_readings += 1
            self._nothing_to_commit(entry)
        elif entry is None:
            burst.unacknowledged += readings
        else:
            burst.readings += readings
            burst.entries.append(entry)

    def _put(self, burst: _Burst) -> None:
        if burst.unacknowledged:
            self._sink.put(burst.unacknowledged)
        if burst.readings:
            future = self._sink.put(burst.readings, deliveries=[entry.delivery for entry in burst.entries])
            future.add_done_callback(functools.partial(self._settled, burst.entries))

    def _gather(self, device: MqttDevice, said: Said, entry: Entry | None, now_us: int, burst: _Burst) -> None:
        if device.gathering.clashes(said):
            self._gathered(device, burst)
        device.gathering.add(said, entry, now_us, functools.partial(self._close_gathering, device))

    def _close_gathering(self, device: MqttDevice) -> None:
        if device.gathering.open:
            burst = _Burst()
            self._gathered(device, burst)
            self._put(burst)
            self._acknowledge_soon()

    def _gathered(self, device: MqttDevice, burst: _Burst) -> None:
        began_us = device.gathering.began_us
        said, entries = device.gathering.end()
        readings = device.readings(said, began_us)
        if entries and readings:
            burst.readings += readings
            burst.entries += entries
        elif readings:
            burst.unacknowledged += readings
        else:
            self.state.without_readings += 1
            for entry in entries:
                self._nothing_to_commit(entry)

    def _reject(self, message: Message, reason: str, entry: Entry | None) -> None:
        self.state.rejected += 1
        if (count := self._repeats.due(f"rejected {self.state.broker}")) is not None:
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
            asyncio.get_running_loop().call_soon(self._acknowledge)

    def _acknowledge(self) -> None:
        self._acknowledging = False
        connection, ids = self._connection, self._deliveries.due()
        if connection is None or not ids:
            return
        self._peak = max(self._peak, connection.open_ids)
        connection.acknowledge(ids)
        if self._look is None and self._taking:
            self._look_soon()

    def _look_soon(self) -> None:
        self._seen = self.state.messages
        self._look = asyncio.get_running_loop().call_later(_WINDOW_FULL_S, self._look_at_window)

    def _look_at_window(self) -> None:
        """Have what waits committed at once when the broker's window is full of it: until then it sends no more.

        How wide the window is only the broker knows; it is taken for full when as many wait as ever did.
        """
        self._look = None
        if self._connection is not None and self._connection.open_ids >= max(self._peak, _SMALLEST_WINDOW):
            self._sink.hurry()
        elif self.state.messages != self._seen and self._taking:
            self._look_soon()

    def _ask_for_rebirth(self, topic: str) -> None:
        request = self._rebirths.due(topic)
        if request is not None and self._connection is not None:
            _LOG.info("asks for rebirth", topic=request.topic)
            self._connection.publish(request.topic, request.payload)
