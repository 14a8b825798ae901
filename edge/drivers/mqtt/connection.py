"""One connection to a broker: greeting, subscriptions, keep-alive, and what the broker sends, a burst at a time."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from edge.drivers.mqtt import packets
from edge.drivers.mqtt.packets import Accepted, Control, Message, Version
from edge.drivers.mqtt.reader import Reader
from edge.errors import BrokerFault

_OPEN_S = 15.0
# Amazon's broker takes no more in one packet (AWS IoT Core quotas, subscriptions per subscribe request).
_FILTERS_AT_ONCE = 8
# "Unspecified error": what a filter counts as that a broker's answer passes over.
_NO_CODE = b"\x80"
# How many messages may wait for their acknowledgement: some commits' worth, and no more than the buffer would know
# again if all their acknowledgements were lost (RECENT_DELIVERIES there).
RECEIVE_MAXIMUM = 4_000


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker is, and as whom to come. With `tls` its certificate has to name `server_name`, else `host`."""

    host: str
    port: int
    client_id: str
    version: Version = "3.1.1"
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 2_592_000
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    def __repr__(self) -> str:
        return f"Login({self.client_id} at {self.host}:{self.port})"


class Connection(asyncio.Protocol):
    """Use `open`. `lost` is done, with the reason, once the connection is no more."""

    accepted: Accepted

    def __init__(self, *, login: Login, received: Callable[["Connection", list[Message]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.open_ids = 0
        self._loop, self._login, self._received = loop, login, received
        self._reader = Reader(login.version)
        self._greeted: asyncio.Future[Accepted] = loop.create_future()
        self._subscribing: dict[int, asyncio.Future[bytes]] = {}
        self._exactly_once: set[int] = set()
        self._packet_id = 0
        self._transport: asyncio.Transport | None = None
        self._reason = "closed by the broker"
        self._keepalive_s = float(login.keepalive_s)
        self._heard_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    @classmethod
    async def open(cls, login: Login, received: Callable[["Connection", list[Message]], None]) -> "Connection":
        """Connect and greet. Raises BrokerFault: not reached, not trusted, refused."""
        connection = cls(login=login, received=received)
        name = (login.server_name or login.host) if login.tls else None
        try:
            async with asyncio.timeout(_OPEN_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, login.host, login.port, ssl=login.tls, server_hostname=name
                )
                await connection._greeted
        except TimeoutError as error:
            connection.abort("")
            raise BrokerFault(f"no answer within {_OPEN_S:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise BrokerFault(f"its certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise BrokerFault(f"TLS: {error.reason or error}") from error
        except OSError as error:
            raise BrokerFault(f"cannot be reached: {error.strerror or error}") from error
        except ValueError as error:
            # A name that cannot be looked up, or that no certificate could have.
            raise BrokerFault(f"{name or login.host!r} is no name of a host: {error}") from error
        except BaseException:
            connection.abort("")
            raise
        return connection

    async def subscribe(self, filters: Sequence[str]) -> dict[str, int]:
        """The code that the broker gives for each of `filters`: granted quality, or a refusal from 0x80.

        Raises BrokerFault when there is no answer, and at once when the connection is lost.
        """
        if self.lost.done():
            raise BrokerFault(self.lost.result())
        asked = []
        for first in range(0, len(filters), _FILTERS_AT_ONCE):
            some = filters[first : first + _FILTERS_AT_ONCE]
            self._packet_id = self._packet_id % 65_535 + 1
            answer: asyncio.Future[bytes] = self._loop.create_future()
            self._subscribing[self._packet_id] = answer
            asked.append((some, answer))
            self._write(packets.subscribe(version=self._login.version, packet_id=self._packet_id, filters=some))
        codes: dict[str, int] = {}
        try:
            async with asyncio.timeout(_OPEN_S):
                for some, answer in asked:
                    codes |= zip(some, (await answer).ljust(len(some), _NO_CODE), strict=False)
        except TimeoutError as error:
            raise BrokerFault(f"no answer to a subscription within {_OPEN_S:g} s") from error
        return codes

    def acknowledge(self, ids: Sequence[int]) -> None:
        """Tell the broker, in one go, that it need not keep these any longer. Nothing when the connection is gone."""
        self.open_ids -= len(ids)
        if self._exactly_once:
            of_quality_2 = [packet_id for packet_id in ids if packet_id in self._exactly_once]
            ids = [packet_id for packet_id in ids if packet_id not in self._exactly_once]
            self._exactly_once.difference_update(of_quality_2)
            self._write(packets.received(of_quality_2))
        self._write(packets.acknowledge(ids))
        if self._paused and self.open_ids < RECEIVE_MAXIMUM // 2:
            self.resume()

    def publish(self, topic: str, payload: bytes) -> None:
        self._write(packets.publish(version=self._login.version, topic=topic, payload=payload))

    def pause(self) -> None:
        """Read no more; the broker keeps the rest."""
        if self._transport is not None and not self._transport.is_closing() and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and self._paused:
            self._paused = False
            self._heard_s = self._loop.time()
            self._transport.resume_reading()

    async def close(self) -> None:
        """Say goodbye after what was acknowledged, and leave the session behind."""
        self._write(packets.GOODBYE)
        if self._transport is not None:
            # Who closes with bytes unread resets the connection, and what was acknowledged may not arrive. So the rest
            # is read and dropped until the broker, having read the goodbye, closes its side.
            self._received = lambda connection, messages: None
            self.resume()
            try:
                async with asyncio.timeout(2.0):
                    await asyncio.shield(self.lost)
            except TimeoutError:
                self._transport.abort()
                await self.lost

    def abort(self, reason: str) -> None:
        self._reason = reason or self._reason
        if self._transport is not None:
            self._transport.abort()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        self._transport = cast(asyncio.Transport, transport)
        login = self._login
        self._write(
            packets.connect(
                version=login.version,
                client_id=login.client_id,
                keepalive_s=login.keepalive_s,
                username=login.username,
                password=login.password,
                session_expiry_s=login.session_expiry_s,
                receive_maximum=RECEIVE_MAXIMUM,
            )
        )

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        found: list[Message | Control] = []
        messages: list[Message] = []
        fault: BrokerFault | None = None
        try:
            self._reader.feed(data, found)
        except BrokerFault as error:
            fault = error
        try:
            for packet in found:
                if isinstance(packet, Control):
                    self._control(packet)
                elif self._greeted.done():
                    messages.append(packet)
                else:
                    raise BrokerFault("a message before the answer to the greeting; is this an MQTT broker?")
        except BrokerFault as error:
            fault = error
        # What came whole before the fault is taken all the same: otherwise it comes again with the fault, for ever.
        if messages:
            self._take(messages)
        if fault is not None:
            self.abort(str(fault))

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            if message.qos:
                self.open_ids += 1
                if message.qos == 2:
                    self._exactly_once.add(message.id)
        self._received(self, messages)
        if self.open_ids >= RECEIVE_MAXIMUM:
            self.pause()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if error is not None and self._reason == "closed by the broker":
            self._reason = str(error)
        if not self.lost.done():
            self.lost.set_result(self._reason)
        fault = BrokerFault(self._reason)
        if not self._greeted.done():
            self._greeted.set_exception(fault)
            self._greeted.exception()
        for answer in self._subscribing.values():
            if not answer.done():
                answer.set_exception(fault)
                # Nobody may be waiting any more.
                answer.exception()

    def _control(self, packet: Control) -> None:
        if not self._greeted.done():
            self.accepted = packets.accepted(packet, self._login.version)
            # A broker of 5.0 may want to hear from us oftener. Less often, or never, is how dead ones go unnoticed.
            self._keepalive_s = min(self._keepalive_s, self.accepted.keepalive_s or self._keepalive_s)
            self._greeted.set_result(self.accepted)
            self._keep_alive()
        elif packet.kind == packets.SUBACK:
            packet_id, codes = packets.granted(packet, self._login.version)
            answer = self._subscribing.pop(packet_id, None)
            if answer is not None and not answer.done():
                answer.set_result(codes)
        elif packet.kind == packets.PUBREL:
            self._write(packets.completed(packet))
        elif packet.kind == packets.DISCONNECT:
            raise BrokerFault(packets.farewell(packet))

    def _keep_alive(self) -> None:
        """Ask for a sign of life twice in each interval; give the connection up when none came for one and a half."""
        now_s = self._loop.time()
        if self._paused:
            self._heard_s = now_s
        if now_s - self._heard_s > 1.5 * self._keepalive_s:
            self.abort(f"silent for {now_s - self._heard_s:.0f} s")
            return
        self._write(packets.PING)
        self._timer = self._loop.call_later(self._keepalive_s / 2, self._keep_alive)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
