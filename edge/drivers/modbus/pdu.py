"""What is asked of a unit and what may answer it, before any framing. Source: Modbus Application Protocol V1.1b3."""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from edge.errors import ModbusFault

_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}
_LEAST_PDU = 2
EXCEPTION_BIT = 0x80


class Request(NamedTuple):
    """`pdu` is what is sent. A reply begins with `head` and has `length` bytes, or says that it is an exception."""

    pdu: bytes
    head: bytes
    length: int

    def answered_by(self, pdu: bytes) -> bool:
        return (len(pdu) == self.length and pdu.startswith(self.head)) or (
            len(pdu) == _LEAST_PDU and pdu[0] == self.exception
        )

    @property
    def exception(self) -> int:
        """The function code of an exception to this request."""
        return self.pdu[0] | EXCEPTION_BIT


@lru_cache(maxsize=4096)
def reading(function: int, address: int, count: int) -> Request:
    """FC1 to FC4. Raises ValueError for another function, or a range that no request can hold."""
    if function in (3, 4):
        size, most = 2 * count, 125
    elif function in (1, 2):
        size, most = -(-count // 8), 2000
    else:
        raise ValueError(f"function {function} reads nothing; 1 to 4 do")
    if not (1 <= count <= most and 0 <= address <= 0x10000 - count):
        raise ValueError(f"{count} from {address:#06x}: a request reads 1 to {most} up to address 0xffff")
    return Request(struct.pack(">BHH", function, address, count), bytes((function, size)), 2 + size)


def writing(function: int, address: int, values: Sequence[int]) -> Request:
    """FC5, 6, 15 and 16. Raises ValueError for another function, or values that no request can hold."""
    most = {5: 1, 6: 1, 15: 1968, 16: 123}.get(function)
    if most is None:
        raise ValueError(f"function {function} writes nothing; 5, 6, 15 and 16 do")
    largest = 1 if function in (5, 15) else 0xFFFF
    if not (1 <= len(values) <= most and 0 <= address <= 0x10000 - len(values)):
        raise ValueError(f"{len(values)} from {address:#06x}: function {function} writes 1 to {most} up to 0xffff")
    if any(not 0 <= value <= largest for value in values):
        raise ValueError(f"function {function} writes values of 0 to {largest}")
    if function in (5, 6):
        word = values[0] * 0xFF00 if function == 5 else values[0]
        pdu = struct.pack(">BHH", function, address, word)
        return Request(pdu, pdu, len(pdu))
    if function == 15:
        bits = sum(value << position for position, value in enumerate(values))
        data = bits.to_bytes(-(-len(values) // 8), "little")
    else:
        data = struct.pack(f">{len(values)}H", *values)
    echo = struct.pack(">BHH", function, address, len(values))
    return Request(echo + bytes((len(data),)) + data, echo, len(echo))


def fault_of(pdu: bytes) -> ModbusFault:
    """What `pdu`, an exception, says."""
    code = pdu[1]
    return ModbusFault(f"exception {code}, {_EXCEPTIONS.get(code, 'unknown')}", line_lost=False, exception_code=code)
