"""What is done about a request: the reply, how it is spoilt, and when it leaves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from firmware_sim import chance
from firmware_sim.faults.fault import Fault

ILLEGAL_FUNCTION = 0x01
ILLEGAL_DATA_ADDRESS = 0x02
ILLEGAL_DATA_VALUE = 0x03
DEVICE_FAILURE = 0x04
GATEWAY_TARGET_FAILED = 0x0B
_DELAY_S, _LATE_S, _GARBAGE_BYTES = 1.0, 1.5, 8


def exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


@dataclass(frozen=True, slots=True)
class Answer:
    """`pdu` leaves in a frame `delay_s` after the request, or never if it is None.

    `serve` is called before a reply that is as it should be leaves, so that what was served is known: a reply that is
    spoilt, late or another unit's was not served. `spoil` alters the frame. `unit` is the address that the reply bears,
    the request's if None. A `late` reply does not hold up the next one. `raw` is sent as it stands, without a frame.
    """

    pdu: bytes | None
    serve: Callable[[], None] | None = None
    delay_s: float = 0.0
    late: bool = False
    unit: int | None = None
    transaction_offset: int = 0
    spoil: Callable[[bytes], bytes] | None = None
    raw: bytes | None = None
    close: Literal["no", "after", "at once"] = "no"

    def under(self, fault: Fault, unit: int, key: int) -> "Answer":
        """This answer of `unit` as a fault of scope "reply" or `mute` makes it; `key` decides what noise looks like."""
        spec = fault.spec
        if spec.kind == "delay":
            return replace(self, delay_s=self.delay_s + (spec.delay_s or _DELAY_S))
        spoilt = replace(self, serve=None)
        match spec.kind:
            case "timeout" | "mute":
                return replace(spoilt, pdu=None)
            case "late":
                return replace(spoilt, late=True, delay_s=spec.delay_s or _LATE_S)
            case "wrong-unit":
                # Its own address would make it the right answer, and that is served.
                return (
                    self
                    if spec.unit == unit
                    else replace(spoilt, unit=(unit + 1) % 256 if spec.unit is None else spec.unit)
                )
            case "wrong-transaction":
                return replace(spoilt, transaction_offset=-1 if spec.offset is None else spec.offset)
            case "crc":
                return replace(spoilt, spoil=lambda frame: frame[:-2] + bytes((frame[-2] ^ 0x55, frame[-1] ^ 0xAA)))
            case "truncate":
                # A whole frame would be no fault.
                return replace(
                    spoilt,
                    spoil=lambda frame: frame[
                        : len(frame) // 2 if spec.bytes is None else min(spec.bytes, len(frame) - 1)
                    ],
                )
            case "garbage":
                count = _GARBAGE_BYTES if spec.bytes is None else spec.bytes
                return replace(spoilt, raw=bytes(chance.draw(key, at) & 0xFF for at in range(count)))
            case "close":
                if spec.variant == "request":
                    return replace(spoilt, pdu=None, close="at once")
                if spec.variant == "reply":
                    return replace(self, close="after")
                return replace(spoilt, spoil=lambda frame: frame[: len(frame) // 2], close="after")
        raise AssertionError(spec.kind)


class Bus(Protocol):
    """What answers behind an endpoint."""

    def answer(self, unit: int, pdu: bytes) -> Answer | None:
        """None if there is no such unit: a gateway says so, a line stays silent. Raises JournalError when served."""
        ...

    def broadcast(self, pdu: bytes) -> None:
        """A request to all units, which none answers."""
        ...
