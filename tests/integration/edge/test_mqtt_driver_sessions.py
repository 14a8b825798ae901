"""The MQTT driver and its session at a real Mosquitto: both versions of the protocol, TLS, refusals, losses."""

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from edge.buffer.limits import Limits
from edge.buffer.queue import BufferQueue
from edge.buffer.store import Store
from edge.clock import Clock
from edge.drivers.mqtt.connection import RECEIVE_MAXIMUM
from edge.status.status import Running
from local.servers import MosquittoBroker
from tests.integration.edge.brokers import energy, listening, plug, publish, registers
from tests.integration.edge.peers import Kept, eventually

TOPIC = "tele/plug/SENSOR"
BOTH = pytest.mark.parametrize("version", ["3.1.1", "5"])


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Callable[[str], MosquittoBroker]]:
    """Starts a broker with settings of its own."""
    running: list[MosquittoBroker] = []

    def start(settings: str) -> MosquittoBroker:
        folder = tmp_path / f"broker{len(running)}"
        broker = MosquittoBroker(data_dir=folder, bound_to_parent=True, settings=settings)
        broker.start()
        running.append(broker)
        return broker

    yield start
    for broker in running:
        broker.stop()


async def _publish(broker: MosquittoBroker, *payloads: object, topic: str = TOPIC) -> None:
    await asyncio.to_thread(publish, broker.port, topic, *payloads)


@BOTH
async def test_the_broker_keeps_what_comes_while_the_gateway_is_away(broker: MosquittoBroker, version: str) -> None:
    """E13"""
    kept = Kept()
    async with listening(broker.port, kept, version=version) as bus:
        await eventually(lambda: bus.state.connected)
        await _publish(broker, energy(1))
        await eventually(lambda: len(kept.readings) == 1)
    await _publish(broker, energy(2), energy(3))
    async with listening(broker.port, kept, version=version):
        await eventually(lambda: len(kept.readings) == 3)
    assert registers(kept.readings) == [1, 2, 3]


@BOTH
async def test_what_was_not_committed_comes_again(broker: MosquittoBroker, version: str) -> None:
    """E13"""
    lost, kept = Kept(hold=True), Kept()
    async with listening(broker.port, lost, version=version) as bus:
        await eventually(lambda: bus.state.connected)
        await _publish(broker, *(energy(wh) for wh in range(5)))
        await eventually(lambda: len(lost.readings) == 5)
    async with listening(broker.port, kept, version=version):
        await eventually(lambda: len(kept.readings) == 5)
    after = Kept()
    async with listening(broker.port, after, version=version) as bus:
        await eventually(lambda: bus.state.connected)
        await _publish(broker, energy(5))
        await eventually(lambda: 5 in registers(after.readings))
    assert registers(kept.readings) == [0, 1, 2, 3, 4]
    assert bus.state.messages == 1


@BOTH
async def test_a_session_that_the_broker_lost_is_counted_and_the_driver_goes_on(
    broker: MosquittoBroker, version: str
) -> None:
    kept = Kept()
    async with listening(broker.port, kept, version=version) as bus:
        await eventually(lambda: bus.state.connected)
        await eventually(lambda: (broker.data_dir / "sessions.db").exists(), timeout_s=20)
        await asyncio.to_thread(_lose_sessions, broker)
        await eventually(lambda: bus.state.sessions_lost == 1, timeout_s=20)
        await eventually(lambda: not bus.state.trouble)
        await _publish(broker, energy(1))
        await eventually(lambda: len(kept.readings) == 1)


def _lose_sessions(broker: MosquittoBroker) -> None:
    broker.kill()
    (broker.data_dir / "sessions.db").unlink()
    broker.start()


@BOTH
async def test_an_id_that_a_new_session_uses_again_is_not_acknowledged_for_the_old_message(
    broker: MosquittoBroker, version: str
) -> None:
    """E13: both messages have id 1; the commit of the first says nothing of the second."""
    held, later = Kept(hold=True), Kept()
    async with listening(broker.port, held, version=version) as bus:
        await eventually(lambda: bus.state.connected)
        await _publish(broker, energy(1))
        await eventually(lambda: len(held.readings) == 1)
        await asyncio.to_thread(_lose_sessions, broker)
        await eventually(lambda: bus.state.sessions_lost == 1, timeout_s=20)
        await _publish(broker, energy(2))
        await eventually(lambda: len(held.readings) == 2)
        assert [entry.delivery.message_id for entry in bus._intake._deliveries._order] == [1]
        held.futures[0].set_result(None)
    async with listening(broker.port, later, version=version):
        await eventually(lambda: len(later.readings) == 1)
    assert registers(later.readings) == [2]


def _hashed(name: str, password: str) -> str:
    """A line of Mosquitto's password file: PBKDF2 with SHA-512."""
    salt = b"123456789012"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{name}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@pytest.mark.parametrize(("version", "words"), [("3.1.1", "not authorized"), ("5", "not authorized (code 0x87)")])
async def test_a_wrong_password_is_said_in_words_and_the_right_one_lets_in(
    tmp_path: Path, brokers: Callable[[str], MosquittoBroker], version: str, words: str
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(_hashed("gateway", "secret"))
    passwords.chmod(0o600)
    broker = brokers(f"allow_anonymous false\npassword_file {passwords}\n")
    async with listening(broker.port, Kept(), version=version, username="gateway", password="wrong") as bus:
        await eventually(lambda: words in (bus.state.trouble or ""))
        assert not bus.state.connected
    async with listening(broker.port, Kept(), version=version, username="gateway", password="secret") as bus:
        await eventually(lambda: bus.state.connected)
        assert bus.state.trouble is None


_NO_SUBSCRIPTIONS = {
    "defaultACLAccess": {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    },
    "anonymousGroup": "nobody",
    "clients": [],
    "groups": [{"groupname": "nobody", "roles": [{"rolename": "some"}]}],
    "roles": [
        {"rolename": "some", "acls": [{"acltype": "subscribePattern", "topic": "tele/plug/#", "allow": True}]},
    ],
}


@BOTH
async def test_a_refused_subscription_is_trouble_and_the_others_go_on(
    tmp_path: Path, brokers: Callable[[str], MosquittoBroker], version: str
) -> None:
    kept, rules = Kept(), tmp_path / "rules.json"
    rules.write_text(json.dumps(_NO_SUBSCRIPTIONS))
    plugin = MosquittoBroker(data_dir=tmp_path).installation.program("mosquitto").resolve()
    library = next(plugin.parents[2].rglob("mosquitto_dynamic_security.so"), None)
    if library is None:
        pytest.skip("Mosquitto's dynamic security plugin is not installed")
    broker = brokers(f"allow_anonymous true\nplugin {library}\nplugin_opt_config_file {rules}\n")
    async with listening(broker.port, kept, plug(), plug("secret"), version=version) as bus:
        await eventually(lambda: bus.state.refused_topics == ["tele/secret/SENSOR"])
        assert bus.state.trouble == "subscription refused: tele/secret/SENSOR"
        await _publish(broker, energy(1))
        await eventually(lambda: len(kept.readings) == 1)


@BOTH
async def test_a_broker_that_grants_no_quality_is_trouble(
    brokers: Callable[[str], MosquittoBroker], version: str
) -> None:
    broker = brokers("max_qos 0\n")
    async with listening(broker.port, Kept(), version=version) as bus:
        await eventually(lambda: "QoS 0 only" in (bus.state.trouble or ""))
        assert bus.state.connected


async def test_a_client_of_the_same_name_is_named_as_the_cause(broker: MosquittoBroker) -> None:
    """E11: both go on trying."""
    async with listening(broker.port, Kept(), version="5") as bus:
        await eventually(lambda: bus.state.connected)
        async with listening(broker.port, Kept(), version="5"):
            await eventually(lambda: "another client has this client_id" in (bus.state.trouble or ""))
        await eventually(lambda: bus.state.connected, timeout_s=20)


@contextmanager
def _certificates(folder: Path) -> Iterator[tuple[trustme.CA, str]]:
    """An authority, and the settings of a broker that wants to see certificates of it."""
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    files = {name: folder / f"{name}.pem" for name in ("ca", "server", "server_key")}
    authority.cert_pem.write_to_path(files["ca"])
    server.private_key_pem.write_to_path(files["server_key"])
    for pem in server.cert_chain_pems:
        pem.write_to_path(files["server"], append=True)
    yield (
        authority,
        f"cafile {files['ca']}\ncertfile {files['server']}\nkeyfile {files['server_key']}\nrequire_certificate true\n",
    )


@BOTH
async def test_tls_with_a_client_certificate_reads_like_plain_text(
    tmp_path: Path, brokers: Callable[[str], MosquittoBroker], version: str
) -> None:
    with _certificates(tmp_path) as (authority, settings):
        port = _free()
        broker = brokers(f"listener {port} 127.0.0.1\n{settings}")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        authority.issue_cert("gateway@example.org").configure_cert(context)
        kept = Kept()
        async with listening(port, kept, version=version, tls=context, host="localhost") as bus:
            await eventually(lambda: bus.state.connected)
            await _publish(broker, *(energy(wh) for wh in range(200)))
            await eventually(lambda: len(kept.readings) == 200)
        again = Kept()
        async with listening(port, again, version=version, tls=context, host="localhost") as bus:
            await eventually(lambda: bus.state.connected)
            await _publish(broker, energy(200))
            await eventually(lambda: 200 in registers(again.readings))
        assert registers(again.readings) == [200]


async def test_a_broker_of_another_authority_or_name_is_not_trusted(
    tmp_path: Path, brokers: Callable[[str], MosquittoBroker]
) -> None:
    with _certificates(tmp_path) as (authority, settings):
        port = _free()
        brokers(f"listener {port} 127.0.0.1\n{settings}")
        strange, known = ssl.create_default_context(), ssl.create_default_context()
        trustme.CA().configure_trust(strange)
        authority.configure_trust(known)
        async with listening(port, Kept(), tls=strange, host="localhost") as bus:
            await eventually(lambda: "certificate is not trusted" in (bus.state.trouble or ""))
        async with listening(port, Kept(), tls=known, host="localhost", server_name="other.example.org") as bus:
            await eventually(lambda: "certificate is not trusted" in (bus.state.trouble or ""))
        async with listening(port, Kept(), tls=known, host="localhost") as bus:
            await eventually(lambda: "certificate required" in (bus.state.trouble or "").lower())


def _free() -> int:
    from tests.integration.edge.peers import free_port

    return free_port()


async def test_a_broker_with_a_small_window_does_not_wait_a_commit_interval_for_each(
    tmp_path: Path, brokers: Callable[[str], MosquittoBroker]
) -> None:
    """Mosquitto sends 20 messages ahead unless told otherwise: 200 at one commit in 3 s would take 30 s."""
    broker = brokers("max_inflight_messages 20\n")
    async with listening(broker.port, Kept()) as bus:
        await eventually(lambda: bus.state.connected)
        await eventually(lambda: not bus.state.trouble)
    await _publish(broker, *(energy(wh) for wh in range(200)))
    store = Store(path=tmp_path / "buffer.sqlite", clock=Clock(), limits=Limits(max_bytes=2**30))
    queue = BufferQueue(store=store, clock=Clock(), commit_interval_s=3, commit_readings=2_000, memory_readings=20_000)
    drained = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.run(drained))
        async with listening(broker.port, queue):
            await eventually(lambda: queue.state.committed == 200, timeout_s=60)
        drained.set()
    await store.close()
    assert 10 <= queue.state.commits <= 20


async def test_a_sink_that_does_not_commit_stops_the_flood_and_loses_nothing(
    brokers: Callable[[str], MosquittoBroker],
) -> None:
    """E30: memory is bounded by what may wait for an acknowledgement; the broker keeps the rest."""
    broker, slow = brokers("max_inflight_messages 0\npersistence false\n"), Kept(hold=True)
    count = RECEIVE_MAXIMUM + 5_000
    async with listening(broker.port, Kept()) as bus:
        await eventually(lambda: bus.state.connected)
    await _publish(broker, *(energy(wh) for wh in range(count)))
    async with listening(broker.port, slow) as bus:
        await eventually(lambda: bus.state.messages >= RECEIVE_MAXIMUM)
        await asyncio.sleep(0.3)
        assert bus.state.messages < count
        slow._hold = False
        for future in slow.futures:
            if not future.done():
                future.set_result(None)
        await eventually(lambda: len(slow.readings) == count, timeout_s=30)
    assert registers(slow.readings) == list(range(count))


async def test_a_message_too_large_to_be_a_meters_is_kept_cut_and_the_next_one_read(broker: MosquittoBroker) -> None:
    """E30: in 5 the broker is told not to send it at all."""
    kept = Kept()
    async with listening(broker.port, kept) as bus:
        await eventually(lambda: bus.state.connected)
        await _publish(broker, b"{" + bytes(3_000_000), energy(1))
        await eventually(lambda: len(kept.readings) == 1)
    [(topic, payload, reason)] = kept.rejected
    assert (topic, reason) == (TOPIC, "3000001 bytes, more than is read of one message")
    assert payload[:1] == b"{"
    assert len(payload) < 100_000


async def test_trouble_with_a_broker_is_told_at_once() -> None:
    from edge.drivers.mqtt.state import BrokerState

    well, refused = (
        BrokerState("b", connected=True),
        BrokerState("b", connected=True, trouble="subscription refused: t"),
    )
    assert _told(well) != _told(refused)


def _told(state: object) -> tuple[object, ...]:
    from edge.buffer.state import BufferState
    from edge.uplink.state import UplinkState

    return Running(1, "", 0, 0, [], [state], BufferState(), UplinkState()).trouble()
