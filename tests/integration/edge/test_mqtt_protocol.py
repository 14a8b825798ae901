"""The MQTT driver at brokers that break the protocol, or use corners of it that Mosquitto does not: by raw sockets."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from edge.clock import Clock, signalled
from edge.drivers.mqtt import broker as driver
from edge.drivers.mqtt import connection
from edge.drivers.mqtt.connection import Login
from tests.integration.edge.brokers import energy, listening, plug, registers
from tests.integration.edge.peers import Kept, eventually

TOPIC = "tele/plug/SENSOR"
CONNACK = {"3.1.1": b"\x20\x02\x00\x00", "5": b"\x20\x03\x00\x00\x00"}
RESUMED = {"3.1.1": b"\x20\x02\x01\x00", "5": b"\x20\x03\x01\x00\x00"}
BOTH = pytest.mark.parametrize("version", ["3.1.1", "5"])


class Peer:
    """One connection as the broker has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def packet(self) -> tuple[int, bytes]:
        """The next packet of the gateway: its first byte and its body."""
        first, length, shift = (await self._reader.readexactly(1))[0], 0, 0
        while True:
            byte = (await self._reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                body = await self._reader.readexactly(length)
                if first == 0xE0:
                    raise ConnectionResetError("the gateway said goodbye")
                return first, body

    async def until(self, kind: int) -> bytes:
        """The body of the next packet whose first byte is `kind`."""
        while True:
            first, body = await self.packet()
            if first == kind:
                return body

    async def listen_to_goodbye(self) -> None:
        """Read on until the gateway says goodbye, which raises ConnectionResetError."""
        while True:
            await self.packet()

    async def listen(self) -> None:
        """Read on until the gateway closes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.packet()

    def say(self, *packets: bytes) -> None:
        self._writer.write(b"".join(packets))

    async def welcome(self, version: str, connack: bytes | None = None) -> None:
        """Greet, and grant whatever is subscribed to."""
        await self.until(0x10)
        self.say(connack or CONNACK[version])
        await self.grant(version)

    async def grant(self, version: str, *codes: int) -> None:
        wanted = await self.until(0x82)
        properties = b"\x00" if version == "5" else b""
        body = wanted[:2] + properties + bytes(codes or (1,))
        self.say(b"\x90", bytes((len(body),)), body)


@asynccontextmanager
async def broker(*talks: Callable[[Peer], Coroutine[None, None, None]]) -> AsyncIterator[int]:
    """A server whose first connection is given to the first of `talks`, and so on; the last one has the rest."""
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None] | None] = set()
    failures: list[BaseException] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        talk = talks[min(len(writers), len(talks) - 1)]
        writers.append(writer)
        try:
            await talk(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except AssertionError as failure:
            failures.append(failure)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
    assert not failures, failures


def message(version: str, wh: float, packet_id: int, *, flags: int = 0x02, topic: str = TOPIC) -> bytes:
    """A PUBLISH; of quality 1 unless `flags` say otherwise."""
    name, properties = topic.encode(), b"\x00" if version == "5" else b""
    number = packet_id.to_bytes(2, "big") if flags & 6 else b""
    body = len(name).to_bytes(2, "big") + name + number + properties + json.dumps(energy(wh)).encode()
    assert len(body) < 128
    return bytes((0x30 | flags, len(body))) + body


@BOTH
async def test_bytes_that_come_one_by_one_are_messages_all_the_same(version: str) -> None:
    async def slowly(peer: Peer) -> None:
        await peer.welcome(version)
        for byte in message(version, 1, 1) + message(version, 2, 2):
            peer.say(bytes((byte,)))
            await asyncio.sleep(0)
        assert [await peer.until(0x40), await peer.until(0x40)] == [b"\x00\x01", b"\x00\x02"]
        await peer.listen()

    kept = Kept()
    async with broker(slowly) as port, listening(port, kept, version=version):
        await eventually(lambda: len(kept.readings) == 2)


@BOTH
async def test_messages_of_quality_2_that_an_older_session_left_are_taken_once_and_completed(version: str) -> None:
    """E11, E13: refused, they would come again with every connection. A lost PUBREC makes no second reading."""
    completed = asyncio.Event()

    async def cut_off(peer: Peer) -> None:
        await peer.welcome(version)
        peer.say(message(version, 1, 7, flags=0x04), message(version, 2, 8))
        assert await peer.until(0x50) == b"\x00\x07"

    async def again(peer: Peer) -> None:
        await peer.welcome(version, RESUMED[version])
        peer.say(message(version, 1, 7, flags=0x0C), message(version, 2, 8, flags=0x0A))
        assert await peer.until(0x50) == b"\x00\x07"
        assert await peer.until(0x40) == b"\x00\x08"
        peer.say(b"\x62\x02\x00\x07")
        assert await peer.until(0x70) == b"\x00\x07"
        completed.set()
        await peer.listen()

    kept = Kept()
    async with broker(cut_off, again) as port, listening(port, kept, version=version):
        async with asyncio.timeout(10):
            await completed.wait()
    assert registers(kept.readings) == [1, 2]


@BOTH
async def test_what_came_before_a_broken_packet_is_kept_and_so_not_lost_with_it_for_ever(version: str) -> None:
    """E11: a broker that keeps a broken packet sends it again and again, and what came before it as well."""

    async def broken(peer: Peer) -> None:
        await peer.welcome(version)
        peer.say(message(version, 1, 1), message(version, 2, 2), b"\x32\x04\x00\x09to")
        await peer.listen()

    async def again(peer: Peer) -> None:
        await peer.welcome(version, RESUMED[version])
        peer.say(message(version, 1, 1, flags=0x0A), message(version, 3, 3))
        await peer.listen()

    kept = Kept()
    async with broker(broken, again) as port, listening(port, kept, version=version) as bus:
        await eventually(lambda: 3 in registers(kept.readings))
    assert registers(kept.readings) == [1, 2, 3]
    assert bus.state.repeated == 1


@BOTH
async def test_a_repetition_that_is_not_marked_as_one_is_known_while_it_waits(version: str) -> None:
    """E23: in a session that went on, the id cannot be another message's."""

    async def cut_off(peer: Peer) -> None:
        await peer.welcome(version)
        peer.say(message(version, 1, 1))
        await asyncio.sleep(0.1)

    async def again(peer: Peer) -> None:
        await peer.welcome(version, RESUMED[version])
        peer.say(message(version, 1, 1))
        await peer.listen()

    kept = Kept(hold=True)
    async with broker(cut_off, again) as port, listening(port, kept, version=version) as bus:
        await eventually(lambda: bus.state.messages == 2)
    assert registers(kept.readings) == [1]


@BOTH
async def test_the_same_content_under_the_same_id_of_a_new_session_is_another_message(version: str) -> None:
    """E13: a broker that lost its session counts from 1 again, and 10 W twice is two readings."""

    async def first(peer: Peer) -> None:
        await peer.welcome(version)
        peer.say(message(version, 1, 1))
        await asyncio.sleep(0.1)

    async def anew(peer: Peer) -> None:
        await peer.welcome(version)
        peer.say(message(version, 1, 1))
        await peer.listen()

    kept = Kept(hold=True)
    async with broker(first, anew) as port, listening(port, kept, version=version):
        await eventually(lambda: len(kept.readings) == 2)


@BOTH
async def test_a_subscription_without_an_answer_ends_the_connection_before_the_next_begins(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E10, E11: the old connection would stay, and take messages beside the new one."""
    monkeypatch.setattr(connection, "_OPEN_S", 0.2)
    ended = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        await peer.until(0x10)
        peer.say(CONNACK[version])
        await peer.listen()
        ended.set()

    async def well(peer: Peer) -> None:
        await peer.welcome(version)
        await peer.listen()

    async with broker(deaf, well) as port, listening(port, Kept(), version=version) as bus:
        await eventually(ended.is_set)
        await eventually(lambda: bus.state.connected)


async def test_a_broker_that_accepts_and_never_answers_is_named_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_OPEN_S", 0.2)
    async with broker(Peer.listen) as port, listening(port, Kept()) as bus:
        await eventually(lambda: bus.state.trouble == "no answer within 0.2 s")


async def test_a_dead_connection_is_noticed_whatever_keep_alive_the_broker_wants() -> None:
    """E11: a server keep-alive of 0 turns the broker's own watch off, not ours. It never answers a ping."""

    async def half_open(peer: Peer) -> None:
        await peer.welcome("5", b"\x20\x06\x00\x00\x03\x13\x00\x00")
        await peer.until(0xC0)
        await peer.listen()

    async with broker(half_open) as port, listening(port, Kept(), version="5", keepalive_s=1) as bus:
        await eventually(lambda: (bus.state.trouble or "").startswith("silent for"))


async def test_a_broker_that_wants_to_hear_oftener_does() -> None:
    pinged = asyncio.Event()

    async def strict(peer: Peer) -> None:
        await peer.welcome("5", b"\x20\x06\x00\x00\x03\x13\x00\x01")
        await peer.until(0xC0)
        await peer.until(0xC0)
        pinged.set()
        await peer.listen()

    async with broker(strict) as port, listening(port, Kept(), version="5", keepalive_s=600):
        async with asyncio.timeout(5):
            await pinged.wait()


@BOTH
async def test_a_refused_subscription_is_asked_for_again_and_its_trouble_ends(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E11: rights that are granted later need no restart. A filter without a code of its own is no granted one."""
    monkeypatch.setattr(driver, "_ASK_AGAIN_S", 0.1)
    monkeypatch.setattr(driver, "STEP_S", 0.05)
    granted = asyncio.Event()

    async def grudging(peer: Peer) -> None:
        await peer.until(0x10)
        peer.say(CONNACK[version])
        await peer.grant(version, 1)
        await peer.grant(version, 0x80)
        await granted.wait()
        again = await peer.until(0x82)
        assert b"secret" in again
        assert b"plug" not in again
        peer.say(b"\x90", bytes((4 if version == "5" else 3,)), again[:2], b"\x00\x01" if version == "5" else b"\x01")
        await peer.listen()

    devices = plug(), plug("secret")
    async with broker(grudging) as port, listening(port, Kept(), *devices, version=version) as bus:
        await eventually(lambda: bus.state.refused_topics == ["tele/secret/SENSOR"])
        granted.set()
        await eventually(lambda: bus.state.connected and bus.state.trouble is None)
        assert bus.state.refused_topics == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"\x20\x03\x00\x88\x00", "server unavailable (code 0x88)"),
        (b"\x20\x02\x00\x01", 'set protocol = "3.1.1"'),
        (b"\x20\x03\x00\xf1\x00", "reason not known here (code 0xf1)"),
        (b"\x20\x05\x00\x00\x02\x7f\x00", "a property 0x7f that MQTT 5 does not have"),
        (b"\x20\x80\x80\x80\x80\x01", "a length of more than four bytes"),
        (b"\x90\x03\x00\x01\x00", "answered the greeting with packet 9"),
        (message("5", 1, 1), "a message before the answer to the greeting"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, "is this an MQTT broker?"),
        (CONNACK["5"] + b"\xe0\x02\x8e\x00", "another client has this client_id"),
        (CONNACK["5"] + b"\xe0\x00", "disconnected by the broker"),
        (CONNACK["5"] + message("5", 1, 0), "a PUBLISH that cannot be"),
    ],
)
async def test_what_a_broker_does_wrong_is_trouble_in_words_and_nothing_of_it_is_acknowledged(
    said: bytes, words: str
) -> None:
    async def wrong(peer: Peer) -> None:
        await peer.until(0x10)
        peer.say(said)
        while True:
            first, _ = await peer.packet()
            assert first != 0x40

    kept = Kept()
    async with broker(wrong) as port, listening(port, kept, version="5") as bus:
        await eventually(lambda: words in (bus.state.trouble or ""))
    assert kept.readings == []


async def test_a_broker_that_keeps_no_session_is_trouble() -> None:
    """E13"""

    async def forgetful(peer: Peer) -> None:
        await peer.welcome("5", b"\x20\x08\x00\x00\x05\x11\x00\x00\x00\x00")
        await peer.listen()

    async with broker(forgetful) as port, listening(port, Kept(), version="5") as bus:
        await eventually(lambda: "keeps no session" in (bus.state.trouble or ""))
        assert bus.state.connected


@pytest.mark.parametrize("host", ["mqtt..example", "x" * 64 + ".example", "\udcff"])
async def test_a_host_that_no_name_can_be_is_trouble_and_not_the_end(host: str) -> None:
    """E11"""
    async with listening(1883, Kept(), host=host) as bus:
        await eventually(lambda: "is no name of a host" in (bus.state.trouble or ""))


async def test_a_topic_alias_that_was_not_allowed_is_kept_as_what_it_is() -> None:
    """E13: without a topic nothing says whose message it is; it is not lost in silence."""
    aliased = b"\x32\x0a\x00\x00\x00\x01\x03\x23\x00\x01{}"

    async def aliasing(peer: Peer) -> None:
        await peer.welcome("5")
        peer.say(aliased, message("5", 1, 2))
        await peer.listen()

    kept = Kept()
    async with broker(aliasing) as port, listening(port, kept, version="5"):
        await eventually(lambda: registers(kept.readings) == [1])
    assert kept.rejected == [("", b"{}", "no device is configured for this topic")]


async def test_one_dead_broker_among_many_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """E1"""
    monkeypatch.setattr(connection, "_OPEN_S", 60.0)

    async def well(peer: Peer) -> None:
        await peer.welcome("3.1.1")
        for number in range(1, 50):
            peer.say(message("3.1.1", number, number))
            assert await peer.until(0x40) == number.to_bytes(2, "big")
        await peer.listen()

    kept = Kept()
    async with broker(Peer.listen) as dead, broker(well) as alive, listening(dead, Kept()), listening(alive, kept):
        await eventually(lambda: len(kept.readings) == 49)


async def test_brokers_are_left_at_the_same_time() -> None:
    """E18: one that is slow to see the gateway go does not make the next one's acknowledgements wait."""
    told: list[int] = []
    all_told, stop = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.welcome("3.1.1")
        with contextlib.suppress(ConnectionResetError):
            await peer.listen_to_goodbye()
        told.append(1)
        if len(told) == 3:
            all_told.set()
        # The gateway waits two seconds for this end to close, before it would turn to the next.
        assert await signalled(all_told, 1.8), "the others were not told yet"

    async with broker(slow) as port:
        logins = [Login(host="127.0.0.1", port=port, client_id=f"gateway{number}") for number in range(3)]
        clients = [driver.BrokerClient(login=login, devices=[plug()], sink=Kept(), clock=Clock()) for login in logins]
        async with driver.together(clients), asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(stop))
            await eventually(lambda: all(client.state.connected for client in clients))
            stop.set()
        assert len(told) == 3


class _Watched(random.Random):
    """Keeps between which bounds it was asked to draw."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.bounds.append((a, b))
        return a / 100


async def test_pauses_before_reconnects_are_drawn_anew_from_a_range_that_doubles_up_to_half_a_minute() -> None:
    """E25: gateways that lost their broker together do not come back together."""

    async def busy(peer: Peer) -> None:
        await peer.until(0x10)
        peer.say(b"\x20\x02\x00\x03")

    drawn, stop = _Watched(), asyncio.Event()
    async with broker(busy) as port:
        login = Login(host="127.0.0.1", port=port, client_id="gateway")
        client = driver.BrokerClient(login=login, devices=[plug()], sink=Kept(), clock=Clock(), jitter=drawn)
        async with client, asyncio.TaskGroup() as group:
            group.create_task(client.run(stop))
            await eventually(lambda: len(drawn.bounds) >= 8)
            stop.set()
    assert drawn.bounds[:8] == [(0.1, bound) for bound in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)]
