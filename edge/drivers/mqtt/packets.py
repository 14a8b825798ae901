"""The packets of MQTT 3.1.1 and 5.0 that a subscriber needs, to bytes and back.

Clauses are those of the OASIS standards. QoS 2 is never asked for, but a session that another program left under the
same client id may hold messages of it: refused, they would come again for ever.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from edge.drivers.mqtt.reasons import reason
from edge.errors import BrokerFault

Version = Literal["3.1.1", "5"]
CONNACK, PUBLISH, PUBREL, SUBACK, PINGRESP, DISCONNECT = 2, 3, 6, 9, 13, 14
PING, GOODBYE = b"\xc0\x00", b"\xe0\x00"
LARGEST_BYTES = 1_048_576
"""A packet beyond this is cut: no meter says so much, and memory has an end. In 5.0 a broker is told not to send it."""
_NEVER = 0xFFFF_FFFF
# Table 2-4 of 5.0: how long the value of a property is, by its identifier; "s" a string, "p" a pair, "v" a varint.
_PROPERTY_SIZES: dict[int, int | str] = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
    **dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), "s"),
    0x26: "p",
    0x0B: "v",
}
SESSION_EXPIRY, SERVER_KEEPALIVE, REASON, MAXIMUM_QOS = 0x11, 0x13, 0x1F, 0x24


class Message(msgspec.Struct, gc=False):
    """A PUBLISH from the broker. `id` is 0 at QoS 0; `cut` is the length of a payload that was cut, else 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    id: int
    cut: int = 0


class Control(msgspec.Struct):
    """Any other packet: its kind, and what follows its fixed header."""

    kind: int
    body: bytes


class Accepted(msgspec.Struct, frozen=True):
    """A CONNACK that lets us in. What a 3.1.1 broker cannot say is None."""

    session_present: bool
    keepalive_s: int | None = None
    session_expiry_s: int | None = None
    maximum_qos: int | None = None


def connect(
    *,
    version: Version,
    client_id: str,
    keepalive_s: int,
    username: str | None,
    password: str | None,
    session_expiry_s: int,
    receive_maximum: int,
) -> bytes:
    """CONNECT for a session that outlives the connection. `session_expiry_s` and `receive_maximum` go with 5.0 only."""
    flags = (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    properties = b""
    if version == "5":
        said = struct.pack(
            ">BIBHBI", SESSION_EXPIRY, min(session_expiry_s, _NEVER), 0x21, receive_maximum, 0x27, LARGEST_BYTES
        )
        properties = _varint(len(said)) + said
    body = _string("MQTT") + struct.pack(">BBH", 5 if version == "5" else 4, flags, keepalive_s) + properties
    body += b"".join(_string(text) for text in (client_id, username, password) if text is not None)
    return _packet(0x10, body)


def subscribe(*, version: Version, packet_id: int, filters: Sequence[str]) -> bytes:
    """SUBSCRIBE to `filters` at QoS 1. In 5.0 retained messages come at a new subscription as in 3.1.1: always."""
    properties = b"\x00" if version == "5" else b""
    return _packet(0x82, struct.pack(">H", packet_id) + properties + b"".join(_string(f) + b"\x01" for f in filters))


def publish(*, version: Version, topic: str, payload: bytes) -> bytes:
    """PUBLISH at QoS 0."""
    return _packet(0x30, _string(topic) + (b"\x00" if version == "5" else b"") + payload)


def acknowledge(ids: Iterable[int]) -> bytes:
    """One PUBACK each; in both versions four bytes, success being what 5.0 leaves unsaid."""
    return b"".join([b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in ids])


def received(ids: Iterable[int]) -> bytes:
    """One PUBREC each: what PUBACK is at QoS 1."""
    return b"".join([b"\x50\x02" + packet_id.to_bytes(2, "big") for packet_id in ids])


def completed(release: Control) -> bytes:
    """PUBCOMP, the answer to a PUBREL. Raises BrokerFault."""
    if len(release.body) < 2:
        raise BrokerFault("a PUBREL that is too short")
    return b"\x70\x02" + release.body[:2]


def accepted(control: Control, version: Version) -> Accepted:
    """What a CONNACK says. Raises BrokerFault with the broker's reason when it is a refusal."""
    if control.kind != CONNACK or len(control.body) < 2:
        raise BrokerFault(f"answered the greeting with packet {control.kind}, not a CONNACK; is this an MQTT broker?")
    flags, code = control.body[0], control.body[1]
    # A broker that does not know 5.0 refuses in the words of 3.1.1.
    found = _properties(control.body[2:]) if version == "5" and len(control.body) > 2 else {}
    if code:
        hint = ', set protocol = "3.1.1"' if version == "5" and code in (1, 0x84) else ""
        raise BrokerFault(f"refused: {reason(code, found.get(REASON))}{hint}")
    return Accepted(
        bool(flags & 1), _int(found, SERVER_KEEPALIVE), _int(found, SESSION_EXPIRY), _int(found, MAXIMUM_QOS)
    )


def granted(control: Control, version: Version) -> tuple[int, bytes]:
    """Packet id of a SUBACK, and one code for each filter: the quality granted, or from 0x80 the refusal."""
    if len(control.body) < 3:
        raise BrokerFault("a SUBACK that is too short")
    packet_id, rest = int.from_bytes(control.body[:2], "big"), control.body[2:]
    if version == "5":
        length, start = within(rest, 0)
        rest = rest[start + length :]
    return packet_id, rest


def farewell(control: Control) -> str:
    """Why a 5.0 broker disconnects."""
    if not control.body:
        return "disconnected by the broker"
    return f"disconnected by the broker: {reason(control.body[0], _properties(control.body[1:]).get(REASON))}"


def varint(data: bytes, position: int) -> tuple[int, int]:
    """A variable byte integer at `position`, and where it ends. Raises IndexError where the bytes end before it."""
    value = 0
    for count in range(4):
        byte = data[position + count]
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, position + count + 1
    raise BrokerFault("a length of more than four bytes; is this an MQTT broker?")


def within(packet: bytes, position: int) -> tuple[int, int]:
    """A varint of a packet that is all there. Raises BrokerFault where it ends too early."""
    try:
        return varint(packet, position)
    except IndexError as error:
        raise BrokerFault("a packet that ends before its length") from error


def _properties(data: bytes) -> dict[int, object]:
    """Properties of a packet by identifier; of those that repeat the last. None at all may be left out."""
    found: dict[int, object] = {}
    if not data:
        return found
    try:
        length, at = varint(data, 0)
        stop = at + length
        while at < stop:
            name = data[at]
            size = _PROPERTY_SIZES.get(name)
            at += 1
            if size is None:
                raise BrokerFault(f"a property 0x{name:02x} that MQTT 5 does not have")
            if size == "v":
                found[name], at = varint(data, at)
            elif isinstance(size, int):
                found[name], at = int.from_bytes(data[at : at + size], "big"), at + size
            else:
                for _ in range(2 if size == "p" else 1):
                    until = at + 2 + (data[at] << 8 | data[at + 1])
                    found[name], at = data[at + 2 : until].decode("utf-8", "replace"), until
    except IndexError as error:
        raise BrokerFault("properties that end before their length") from error
    return found


def _int(found: dict[int, object], name: int) -> int | None:
    value = found.get(name)
    return value if isinstance(value, int) else None


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded
