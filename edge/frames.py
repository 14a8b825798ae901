"""Raw frames: what a meter or a broker sent, kept beside its reading where the configuration asks for it."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from edge.reading import Reading

_ENCODER = msgspec.msgpack.Encoder()

Frame = tuple[str, int, bytes]
"""Device and time in microseconds of the reading, and the body: a msgpack map, ModbusFrame or MqttFrame."""


class BlockReply(msgspec.Struct):
    """The registers of one reply, in hexadecimal as they came."""

    function: int
    address: int
    hex: str


class ModbusFrame(msgspec.Struct):
    """The replies of one poll."""

    blocks: list[BlockReply]
    kind: Literal["modbus"] = "modbus"


class MqttFrame(msgspec.Struct):
    """One message."""

    topic: str
    payload: bytes
    kind: Literal["mqtt"] = "mqtt"


def frames(readings: Iterable[Reading], frame: ModbusFrame | MqttFrame) -> list[Frame]:
    """`frame`, once for each of `readings`, which were in it."""
    body = _ENCODER.encode(frame)
    return [(reading.device, reading.time_us, body) for reading in readings]
