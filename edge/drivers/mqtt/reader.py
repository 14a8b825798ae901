"""The bytes of one connection, cut into packets."""

from edge.drivers.mqtt.packets import LARGEST_BYTES, PUBLISH, Control, Message, Version, varint, within
from edge.errors import BrokerFault

# What is kept of a packet that is too large: its topic, and the beginning of its payload.
_HEAD_BYTES = 65_536 + 16_384


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
            size, at = within(data, at)
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
