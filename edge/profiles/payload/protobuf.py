"""The protobuf wire format, read: fields in the order in which they stand, and nothing read past the end.

Encoding guide of Protocol Buffers: a tag is a varint of field number and wire type; 0 varint, 1 eight bytes, 2 length
and bytes, 5 four bytes.
"""

from collections.abc import Iterator
from typing import TypeAlias

from edge.errors import PayloadError

Value: TypeAlias = int | bytes
"""A varint as it stands, unsigned; or the bytes of a fixed-width or length-delimited field."""

_FIXED = {1: 8, 5: 4}


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Field number and value of each field of a message. Raises PayloadError saying at which byte it goes wrong."""
    position, end = 0, len(data)
    while position < end:
        start = position
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise PayloadError(f"not protobuf: field number 0 at byte {start}")
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise PayloadError(f"not protobuf: wire type {wire} at byte {start}")
        if length > end - position:
            raise PayloadError(
                f"truncated: field {number} at byte {start} has {length} bytes, {end - position} are left"
            )
        yield number, data[position : position + length]
        position += length


def varint(value: int) -> bytes:
    """`value`, which is not negative, as it is written."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(position, min(position + 10, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + 1
        shift += 7
    reason = "truncated: a varint without end" if len(data) - position < 10 else "not protobuf: a varint too long"
    raise PayloadError(f"{reason} at byte {position}")
