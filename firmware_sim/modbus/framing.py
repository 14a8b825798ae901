"""Frames: Modbus TCP's header, and RTU's address and CRC. One object per connection; requests in, frames out."""

import struct
from dataclasses import dataclass
from typing import Protocol

_HEADER = struct.Struct(">HHHB")
_MAX_LENGTH = 254
_MAX_RTU = 256
# Bytes of a request with address and CRC, where the function fixes it.
_RTU_LENGTH = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}
_RTU_COUNTED = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}


class FramingError(Exception):
    """What came can be no frame, and there is no way back into step: the connection has to end."""


@dataclass(frozen=True, slots=True)
class Request:
    """`transaction` is 0 where the framing has none; `size` is that of the whole frame."""

    unit: int
    pdu: bytes
    transaction: int
    size: int


class Framing(Protocol):
    is_rtu: bool

    def feed(self, data: bytes) -> list[Request]:
        """The requests that `data` completes. Raises FramingError."""
        ...

    def gap(self) -> list[Request]:
        """The line was silent for a while: what is left over is a request of unknown length, or none."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether a gap would mean something now."""
        ...

    def frame(self, request: Request, pdu: bytes, *, unit: int | None = None, transaction_offset: int = 0) -> bytes:
        """The reply frame to `request`, bearing `unit` instead of its own if given."""
        ...


class TcpFraming:
    """MBAP: transaction, protocol 0, length, unit."""

    is_rtu = False
    unfinished = False

    def __init__(self) -> None:
        self._received = b""

    def feed(self, data: bytes) -> list[Request]:
        received, requests = self._received + data, []
        while len(received) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(received)
            if protocol != 0 or not 2 <= length <= _MAX_LENGTH:
                raise FramingError
            end = 6 + length
            if len(received) < end:
                break
            requests.append(Request(unit, received[_HEADER.size : end], transaction, end))
            received = received[end:]
        self._received = received
        return requests

    def gap(self) -> list[Request]:
        return []

    def frame(self, request: Request, pdu: bytes, *, unit: int | None = None, transaction_offset: int = 0) -> bytes:
        transaction = (request.transaction + transaction_offset) & 0xFFFF
        return _HEADER.pack(transaction, 0, len(pdu) + 1, request.unit if unit is None else unit) + pdu


class RtuFraming:
    """Address, PDU, CRC. A frame ends where its function says so, or at a silence.

    After a wrong CRC everything up to the next silence is noise: nobody knows where a frame would begin.
    """

    is_rtu = True

    def __init__(self) -> None:
        self._received, self._deaf = b"", False

    @property
    def unfinished(self) -> bool:
        return self._deaf or bool(self._received)

    def feed(self, data: bytes) -> list[Request]:
        if self._deaf:
            return []
        self._received += data
        requests = []
        while length := _length(self._received):
            if len(self._received) < length:
                break
            frame, self._received = self._received[:length], self._received[length:]
            if not valid(frame):
                self._received, self._deaf = b"", True
                break
            requests.append(_request(frame))
        if len(self._received) > _MAX_RTU:
            self._received, self._deaf = b"", True
        return requests

    def gap(self) -> list[Request]:
        frame, self._received, self._deaf = self._received, b"", False
        return [_request(frame)] if len(frame) >= 4 and _length(frame) == 0 and valid(frame) else []

    def frame(self, request: Request, pdu: bytes, *, unit: int | None = None, transaction_offset: int = 0) -> bytes:
        body = bytes((request.unit if unit is None else unit,)) + pdu
        return body + crc(body)


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS of `data`, as it goes over the wire: low byte first."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def valid(frame: bytes) -> bool:
    return crc(frame[:-2]) == frame[-2:]


def _request(frame: bytes) -> Request:
    return Request(frame[0], frame[1:-2], 0, len(frame))


def _length(received: bytes) -> int:
    """Of the frame that `received` begins with; 0 if its function does not tell, or not yet."""
    if len(received) < 2:
        return 0
    at = _RTU_COUNTED.get(received[1])
    if at is None:
        return _RTU_LENGTH.get(received[1], 0)
    return at + 3 + received[at] if len(received) > at else 0


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
