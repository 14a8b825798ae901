"""The packets of MQTT 3.1.1 and 5.0 that a subscriber needs, to bytes and back.

Clauses are those of the OASIS standards. QoS 2 is never asked for, but a session that another program left under the
same client id may hold messages of it: refused, they would come again for ever.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from edge.errors import BrokerFault

Version = Literal["3.1.1", "5"]
CONNACK, PUBLISH, PUBREL, SUBACK, PINGRESP, DISCONNECT = 2, 3, 6, 9, 13, 14
PING, GOODBYE = b"\xc0\x00", b"\xe0\x00"
LARGEST_BYTES = 1_048_576
"""A packet beyond this is cut: no meter says so much, and memory has an end. In 5.0 a broker is told not to send it."""
_HEAD_BYTES = 65_536 + 16_384
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
# Clause 3.2.2.3 of 3.1.1.
_REFUSALS = {
    1: "unacceptable protocol version",
    2: "client identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
# Clause 2.4 of 5.0.
_REASONS = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over: another client has this client_id",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}


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
        raise BrokerFault(f"refused: {reason(code, found)}{hint}")
    return Accepted(
        bool(flags & 1), _int(found, SERVER_KEEPALIVE), _int(found, SESSION_EXPIRY), _int(found, MAXIMUM_QOS)
    )


def granted(control: Control, version: Version) -> tuple[int, bytes]:
    """Packet id of a SUBACK, and one code for each filter: the quality granted, or from 0x80 the refusal."""
    if len(control.body) < 3:
        raise BrokerFault("a SUBACK that is too short")
    packet_id, rest = int.from_bytes(control.body[:2], "big"), control.body[2:]
    if version == "5":
        length, start = _within(rest, 0)
        rest = rest[start + length :]
    return packet_id, rest


def farewell(control: Control) -> str:
    """Why a 5.0 broker disconnects."""
    if not control.body:
        return "disconnected by the broker"
    return f"disconnected by the broker: {reason(control.body[0], _properties(control.body[1:]))}"


def reason(code: int, properties: dict[int, object] | None = None) -> str:
    words = _REFUSALS.get(code) or _REASONS.get(code) or "reason not known here"
    said = (properties or {}).get(REASON)
    return f"{words} (code 0x{code:02x})" + (f", the broker says {str(said)[:200]!r}" if said else "")


class Reader:
    """Cuts the bytes of one connection into packets, however they arrive."""

    def __init__(self, version: Version) -> None:
        self._with_properties = version == "5"
        self._rest = b""
        self._skip = 0
        self._large: tuple[int, bytes, int] | None = None

    def feed(self, data: bytes, out: list[Message | Control]) -> None:
        """Add the packets that are complete with `data` to `out`. Raises BrokerFault on what is no MQTT."""
        if self._skip:
            data = self._past_the_large(data, out)
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 2:
            first, length, start = data[position], data[position + 1], position + 2
            if length & 0x80:
                try:
                    length, start = varint(data, position + 1)
                except IndexError:
                    break
            stop = start + length
            if length > LARGEST_BYTES and first >> 4 == PUBLISH:
                if end - start < _HEAD_BYTES:
                    break
                kept = min(end, stop)
                self._large = (first, data[start : start + _HEAD_BYTES], length)
                self._skip, position = stop - start - (kept - start), kept
                if not self._skip:
                    self._end_large(out)
                continue
            if length > LARGEST_BYTES:
                raise BrokerFault(f"a packet {first >> 4} of {length} bytes; is this an MQTT broker?")
            if stop > end:
                break
            out.append(
                self._message(first, data, start, stop)
                if first >> 4 == PUBLISH
                else Control(first >> 4, data[start:stop])
            )
            position = stop
        self._rest = data[position:] if position else data

    def _message(self, first: int, data: bytes, start: int, stop: int, length: int = 0) -> Message:
        topic_at = start + 2
        at = topic_at + (data[start] << 8 | data[start + 1]) if topic_at <= stop else stop + 1
        qos, message_id = first >> 1 & 3, 0
        try:
            topic = data[topic_at:at].decode()
        except UnicodeDecodeError as error:
            raise BrokerFault(f"a topic that is not UTF-8: {data[topic_at:at][:80]!r}") from error
        if qos:
            message_id = int.from_bytes(data[at : at + 2], "big")
            at += 2
        if self._with_properties and at < stop:
            size, at = _within(data, at)
            at += size
        if at > stop or qos > 2 or (qos and not message_id):
            raise BrokerFault(f"a PUBLISH that cannot be: {data[start : start + 40].hex()}")
        cut = length and length - (at - start)
        return Message(topic, data[at:stop], qos, bool(first & 1), bool(first & 8), message_id, cut)

    def _past_the_large(self, data: bytes, out: list[Message | Control]) -> bytes:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if not self._skip:
            self._end_large(out)
        return data[skipped:]

    def _end_large(self, out: list[Message | Control]) -> None:
        if self._large is not None:
            first, head, length = self._large
            out.append(self._message(first, head, 0, len(head), length))
            self._large = None


def varint(data: bytes, position: int) -> tuple[int, int]:
    """A variable byte integer at `position`, and where it ends. Raises IndexError where the bytes end before it."""
    value = 0
    for count in range(4):
        byte = data[position + count]
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, position + count + 1
    raise BrokerFault("a length of more than four bytes; is this an MQTT broker?")


def _within(packet: bytes, position: int) -> tuple[int, int]:
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
