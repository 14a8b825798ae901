"""Writes protocol buffers, in the wire format of protobuf.dev (Encoding), as far as Sparkplug needs it."""

import struct

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def varint(number: int, value: int) -> bytes:
    """Field `number` as a varint; a negative `value` must come as its two's complement of the field's width."""
    return _key(number, _VARINT) + _varint(value)


def boolean(number: int, value: bool) -> bytes:
    return varint(number, int(value))


def single(number: int, value: float) -> bytes:
    return _key(number, _FIXED32) + struct.pack("<f", value)


def double(number: int, value: float) -> bytes:
    return _key(number, _FIXED64) + struct.pack("<d", value)


def blob(number: int, data: bytes) -> bytes:
    """Bytes, UTF-8 text or an embedded message."""
    return _key(number, _BYTES) + _varint(len(data)) + data


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    if value < 0:
        raise ValueError(f"{value} is negative: give its two's complement")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
