"""Packets of MQTT, held to bytes of the standard and to paho's own encoder and decoder of properties."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.drivers.mqtt import packets
from edge.drivers.mqtt.delivery import Deliveries
from edge.drivers.mqtt.packets import Control, Message
from edge.drivers.mqtt.reader import Reader
from edge.drivers.mqtt.topics import matches
from edge.errors import BrokerFault
from edge.reading import Delivery


def _publish(topic: str, payload: bytes, message_id: int, properties: bytes = b"", flags: int = 0) -> bytes:
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + message_id.to_bytes(2, "big") + properties + payload
    return bytes((0x32 | flags,)) + packets._varint(len(body)) + body


def _read(reader: Reader, data: bytes) -> list[Message | Control]:
    found: list[Message | Control] = []
    reader.feed(data, found)
    return found


def test_a_greeting_is_as_the_standard_writes_it() -> None:
    greeting = packets.connect(
        version="3.1.1",
        client_id="gw",
        keepalive_s=30,
        username="u",
        password="p",
        session_expiry_s=1,
        receive_maximum=2,
    )
    assert greeting == b"\x10\x14\x00\x04MQTT\x04\xc0\x00\x1e\x00\x02gw\x00\x01u\x00\x01p"


def test_a_greeting_of_5_asks_for_the_session_and_bounds_what_comes() -> None:
    greeting = packets.connect(
        version="5",
        client_id="gw",
        keepalive_s=30,
        username=None,
        password=None,
        session_expiry_s=604_800,
        receive_maximum=1_000,
    )
    said = Properties(PacketTypes.CONNECT)
    said.unpack(greeting[12:])
    assert (said.SessionExpiryInterval, said.ReceiveMaximum, said.MaximumPacketSize) == (604_800, 1_000, 1_048_576)


def test_what_a_broker_of_5_says_at_the_greeting_is_read() -> None:
    said = Properties(PacketTypes.CONNACK)
    said.SessionExpiryInterval, said.ServerKeepAlive, said.MaximumQoS = 3_600, 20, 0
    said.UserProperty = [("a", "b"), ("c", "d")]
    said.AssignedClientIdentifier = "other"
    found = packets.accepted(Control(packets.CONNACK, b"\x01\x00" + said.pack()), "5")
    assert (found.session_present, found.session_expiry_s, found.keepalive_s, found.maximum_qos) == (True, 3600, 20, 0)


def test_a_refusal_has_the_brokers_own_words() -> None:
    said = Properties(PacketTypes.CONNACK)
    said.ReasonString = "come back tomorrow"
    with pytest.raises(BrokerFault, match=r"server busy \(code 0x89\), the broker says 'come back tomorrow'"):
        packets.accepted(Control(packets.CONNACK, b"\x00\x89" + said.pack()), "5")
    with pytest.raises(BrokerFault, match=r'set protocol = "3.1.1"'):
        packets.accepted(Control(packets.CONNACK, b"\x00\x01"), "5")


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=300)), min_size=1, max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
    st.sampled_from(["3.1.1", "5"]),
)
def test_packets_are_the_same_however_their_bytes_arrive(
    said: list[tuple[str, bytes]], cuts: list[int], version: packets.Version
) -> None:
    properties = b"\x02\x01\x01" if version == "5" else b""
    stream = b"".join(_publish(topic, body, number + 1, properties) for number, (topic, body) in enumerate(said))
    stream += b"\xd0\x00"
    reader, found, at = Reader(version), [], 0
    while at < len(stream):
        step = cuts[at % len(cuts)]
        reader.feed(stream[at : at + step], found)
        at += step
    assert [(m.topic, m.payload, m.id) for m in found[:-1]] == [(*one, n + 1) for n, one in enumerate(said)]
    assert found[-1] == Control(packets.PINGRESP, b"")


def test_flags_of_a_message_are_read() -> None:
    [message] = _read(Reader("3.1.1"), _publish("t", b"p", 7, flags=0x09))
    assert message == Message("t", b"p", 1, True, True, 7)


@pytest.mark.parametrize("step", [1_000, 65_536, 5_000_000])
def test_a_large_message_is_cut_and_the_stream_goes_on(step: int) -> None:
    stream = _publish("t", bytes(2_000_000), 7) + _publish("t", b"next", 8)
    reader, found = Reader("3.1.1"), []
    for at in range(0, len(stream), step):
        reader.feed(stream[at : at + step], found)
    assert [(m.id, m.cut, len(m.payload) < 100_000) for m in found] == [(7, 2_000_000, True), (8, 0, True)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x32\x80\x80\x80\x80\x01",
        b"\x32\x04\x00\x09to",
        b"\x36\x07\x00\x01t\x00\x01xy",
        b"\x32\x07\x00\x01t\x00\x00xy",
        b"\x32\x05\x00\x01\xff\x00\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100_000,
    ],
)
def test_what_is_no_mqtt_is_said_to_be_none(garbage: bytes) -> None:
    def greet() -> None:
        for packet in _read(Reader("3.1.1"), garbage):
            packets.accepted(packet, "3.1.1")

    with pytest.raises(BrokerFault):
        greet()


@given(st.binary(max_size=200), st.sampled_from(["3.1.1", "5"]))
@example(b"\x90\x03\x00\x01\x80", "5")
@example(b"\x32\x06\x00\x01t\x00\x01\x80", "5")
@example(b"\x20\x03\x00\x80\x85", "5")
def test_no_bytes_break_the_reader_otherwise(data: bytes, version: packets.Version) -> None:
    try:
        for packet in _read(Reader(version), data):
            if isinstance(packet, Control):
                packets.accepted(packet, version)
                packets.granted(packet, version)
                packets.completed(packet)
    except BrokerFault:
        pass


@pytest.mark.parametrize(
    ("topic_filter", "topic", "said"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("+/b/#", "a/b", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a/b", "a/c", False),
    ],
)
def test_filters_match_as_the_standard_says(topic_filter: str, topic: str, said: bool) -> None:
    assert matches(topic_filter, topic) is said


def _delivery(number: int) -> Delivery:
    return Delivery.of("c", number, "t", b"p%d" % number)


def test_acknowledgements_keep_the_order_of_the_messages() -> None:
    deliveries = Deliveries()
    entries = [deliveries.add(_delivery(number)) for number in (1, 2, 3)]
    deliveries.settle(entries[1], committed=True)
    assert deliveries.due() == []
    deliveries.settle(entries[0], committed=True)
    assert deliveries.due() == [1, 2]


def test_what_never_will_be_committed_holds_up_nobody() -> None:
    deliveries = Deliveries()
    first, second = deliveries.add(_delivery(1)), deliveries.add(_delivery(2))
    deliveries.settle(first, committed=False)
    deliveries.settle(second, committed=True)
    assert deliveries.due() == [2]


def test_a_repetition_is_settled_with_what_it_repeats_and_only_on_its_own_connection() -> None:
    """E23: the old connection's message is not acknowledged on the new one, its repetition is."""
    deliveries = Deliveries()
    entry = deliveries.add(_delivery(1))
    deliveries.connected()
    assert deliveries.repeated(_delivery(1))
    assert not deliveries.repeated(_delivery(2))
    deliveries.settle(entry, committed=True)
    assert deliveries.due() == [1]
    assert not deliveries.repeated(_delivery(1))
