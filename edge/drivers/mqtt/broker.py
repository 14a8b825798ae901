"""Meters that publish: one client per broker, a session that outlives the daemon, acknowledged once committed."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import structlog

from edge.clock import STEP_S, Clock, pause
from edge.drivers.mqtt.connection import Connection, Login
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.mqtt.intake import Intake
from edge.drivers.mqtt.packets import Accepted
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import Sink
from edge.errors import BrokerFault
from edge.repeats import Repeats

_LOG = structlog.get_logger("edge.mqtt")
_RECONNECT_S = (0.5, 30.0)
# A connection that lasted this long was good, and the next attempt is a first one again.
_LASTED_S = 30.0
_ASK_AGAIN_S = 60.0


class BrokerClient:
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
        keep_frames: bool = False,
        jitter: random.Random | None = None,
    ) -> None:
        self.devices = tuple(devices)
        self.state = BrokerState(broker=f"{login.host}:{login.port}")
        self._login, self._moving = login, moving
        self._jitter = jitter or random.Random()
        self._repeats = Repeats(clock=clock)
        self._intake = Intake(
            client_id=login.client_id,
            devices=self.devices,
            sink=sink,
            clock=clock,
            state=self.state,
            keep_frames=keep_frames,
        )
        self._attempt = 0
        self._had_session = False
        self._connection: Connection | None = None

    async def __aenter__(self) -> "BrokerClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Acknowledge what is committed, and say goodbye to the broker."""
        self._intake.taking = False
        # What has just been committed is acknowledged by callbacks that the loop has yet to run.
        await asyncio.sleep(0)
        self._intake.acknowledge()
        self._intake.close()
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
            if self._connection is not None:
                self._connection.pause()
            self._intake.stop()

    async def _open(self, stopping: "asyncio.Task[Literal[True]]") -> Connection | None:
        """A new connection, None when it is time to stop. Raises BrokerFault."""
        opening = asyncio.create_task(
            Connection.open(self._login, self._intake.received), name=f"to {self.state.broker}"
        )
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
        wanted = self._granted(await connection.subscribe(self._intake.topics.filters))
        self._tell_connected(connection.accepted)
        asked_s = loop.time()
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

    def _greeted(self, connection: Connection) -> None:
        self._connection = connection
        self._intake.adopt(connection)
        accepted = connection.accepted
        self.state.connected, self.state.trouble = True, None
        self._repeats.over(self.state.broker)
        lost = self._had_session and not accepted.session_present
        self._had_session = True
        if lost:
            self.state.sessions_lost += 1
            _LOG.warning("session lost by the broker; what was published while away is gone", broker=self.state.broker)
        if accepted.maximum_qos == 0:
            self.state.trouble = "the broker has QoS 0 only: what is published while the gateway is away is lost"
        elif accepted.session_expiry_s == 0:
            self.state.trouble = "the broker keeps no session: what is published while the gateway is away is lost"

    def _tell_connected(self, accepted: Accepted) -> None:
        # Not before it has answered for the topics: what is published to a new session until then goes nowhere.
        _LOG.info(
            "broker connected",
            broker=self.state.broker,
            session_present=accepted.session_present,
            session_expiry_s=accepted.session_expiry_s,
        )

    def _granted(self, codes: dict[str, int]) -> list[str]:
        """Note what the broker did not grant; the filters to ask for again."""
        refused = [topic for topic, code in codes.items() if code >= 0x80]
        weak = [topic for topic, code in codes.items() if code == 0]
        refused_before, self.state.refused_topics = self.state.refused_topics, refused
        if refused:
            self.state.trouble = f"subscription refused: {', '.join(refused)}"
        elif weak:
            self.state.trouble = f"granted at QoS 0 only, what is published while away is lost: {', '.join(weak)}"
        elif refused_before:
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


@asynccontextmanager
async def together(clients: Sequence[BrokerClient]) -> AsyncIterator[None]:
    """The context of all `clients`; they are left at the same time, as a broker may be slow to see one go."""
    try:
        yield
    finally:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.leave(), name=f"leaving {client.state.broker}")
