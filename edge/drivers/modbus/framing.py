"""Frames around a PDU: the MBAP header of Modbus TCP, and RTU's unit and CRC.

A framing makes the frame of one request at a time and finds its reply in what arrives, in whatever pieces. What belongs
to another request is passed over and kept in `unmatched`, never taken.
"""

import struct
from typing import Protocol

from edge.drivers.modbus.pdu import Request
from edge.errors import ModbusFault

_MBAP = struct.Struct(">HHHB")
_MBAP_LENGTHS = range(3, 255)
_MOST_UNMATCHED = 4096


class Framing(Protocol):
    """`take` gives the reply's PDU once it is complete. Raises ModbusFault where the stream makes no sense any more."""

    unmatched: bytearray

    def frame(self, unit: int, request: Request) -> bytes: ...

    def take(self, data: bytes) -> bytes | None: ...

    def reset(self) -> None:
        """Forget the last request and all that has arrived: what comes now belongs to no request."""


class Mbap:
    """A reply has the transaction id, the unit, the function and the byte count of the current request."""

    def __init__(self) -> None:
        self.unmatched = bytearray()
        self._transaction = 0
        self._rest = b""
        self.reset()

    def reset(self) -> None:
        self._rest = b""
        self._request: Request | None = None
        self._head, self._length = b"\xff", -1

    def frame(self, unit: int, request: Request) -> bytes:
        if self.unmatched:
            self.unmatched.clear()
        # Never 0: it is what a gateway that does not number its replies says.
        transaction = self._transaction = self._transaction % 0xFFFF + 1
        pdu, head, length = request
        self._request, self._unit = request, unit
        self._head = _MBAP.pack(transaction, 0, length + 1, unit) + head
        self._length = length + 7
        return _MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu

    def take(self, data: bytes) -> bytes | None:
        if len(data) == self._length and not self._rest and data.startswith(self._head):
            return data[7:]
        return self._search(data)

    def _search(self, data: bytes) -> bytes | None:
        data = self._rest + data
        while len(data) >= _MBAP.size:
            transaction, protocol, length, unit = _MBAP.unpack_from(data)
            if protocol != 0 or length not in _MBAP_LENGTHS:
                self._rest = b""
                self._passed_over(data)
                raise ModbusFault("what arrived is no Modbus TCP frame", line_lost=True)
            if len(data) < 6 + length:
                break
            frame, data = data[: 6 + length], data[6 + length :]
            if self._request is None or transaction != self._transaction:
                # Late, or somebody else's: its number says that it is no answer to this request.
                self._passed_over(frame)
                continue
            self._rest = data
            if unit != self._unit or not self._request.answered_by(frame[7:]):
                self._passed_over(frame)
                raise ModbusFault(
                    f"a reply of unit {unit}, function {frame[7]}, {len(frame) - 9} bytes "
                    f"instead of unit {self._unit}, function {self._request.pdu[0]}, {self._request.length - 2} bytes",
                    line_lost=True,
                )
            return frame[7:]
        self._rest = data
        return None

    def _passed_over(self, data: bytes) -> None:
        self.unmatched += data[: _MOST_UNMATCHED - len(self.unmatched)]


class Rtu:
    """A reply has the unit, the function and the byte count of the current request, and a right CRC.

    RTU has no transaction id: a late reply of the same shape cannot be told from the current one here. `echoes` says
    whether the adapter hears itself, once that is known.
    """

    def __init__(self) -> None:
        self.unmatched = bytearray()
        self.echoes: bool | None = None
        self.reset()

    def reset(self) -> None:
        self._frame = b""
        self._request: Request | None = None

    def frame(self, unit: int, request: Request) -> bytes:
        self.unmatched.clear()
        body = bytes((unit,)) + request.pdu
        self._frame = body + crc16(body).to_bytes(2, "little")
        self._request = request
        self._wanted = [
            (bytes((unit,)) + request.head, request.length + 3),
            (bytes((unit, request.exception)), 5),
        ]
        self._heard_itself = False
        return self._frame

    def take(self, data: bytes) -> bytes | None:
        arrived = self.unmatched
        arrived += data
        if len(arrived) > _MOST_UNMATCHED:
            del arrived[:-_MOST_UNMATCHED]
        if self._request is None:
            return None
        self._pass_over_echo(arrived)
        for head, length in self._wanted:
            start = arrived.find(head)
            while start >= 0:
                found = bytes(arrived[start : start + length])
                if len(found) == length and crc16(found) == 0:
                    if self.echoes is None:
                        self.echoes = self._heard_itself
                    del arrived[start : start + length]
                    return found[1:-2]
                start = arrived.find(head, start + 1)
        return None

    def _pass_over_echo(self, arrived: bytearray) -> None:
        # The answer to some writes is the request itself, so only an adapter that is known to echo is believed to.
        answer_alike = self._request is not None and self._request.head == self._request.pdu
        if self._heard_itself or (answer_alike and not self.echoes):
            return
        start = arrived.find(self._frame)
        if start >= 0:
            self._heard_itself = True
            if not answer_alike:
                self.echoes = True
            del arrived[: start + len(self._frame)]


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0xA001 if byte & 1 else byte >> 1
        table.append(byte)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes) -> int:
    """The CRC of Modbus RTU, to be sent low byte first; 0 for data that ends with its own."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc
