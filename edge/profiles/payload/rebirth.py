"""The Sparkplug command that asks an edge node to announce itself again (Sparkplug 3.0, 6.4.17 and 6.4.25)."""

import msgspec

from edge.clock import Clock
from edge.profiles.payload.protobuf import varint

# A node answers with its whole birth: not oftener than a fleet of them can be listened to.
_AGAIN_S = 60.0
_BOOLEAN = 11


class Request(msgspec.Struct, frozen=True):
    topic: str
    payload: bytes


class Rebirths:
    """Requests for rebirth, one a minute to each edge node."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._asked_s: dict[str, float] = {}

    def due(self, topic: str) -> Request | None:
        """What to publish to the node that published at `topic`; None when it was asked just now, or is no node."""
        levels = topic.split("/")
        if len(levels) < 4 or levels[2] == "STATE":
            return None
        command, now_s = f"{levels[0]}/{levels[1]}/NCMD/{levels[3]}", self._clock.monotonic_s()
        if now_s - self._asked_s.get(command, float("-inf")) < _AGAIN_S:
            return None
        self._asked_s = {name: at_s for name, at_s in self._asked_s.items() if now_s - at_s < _AGAIN_S}
        self._asked_s[command] = now_s
        return Request(command, _payload(self._clock.now_us() // 1000))


def _payload(now_ms: int) -> bytes:
    """timestamp = 1, metrics = 2 { name = 1, timestamp = 3, datatype = 4, boolean_value = 14 } of sparkplug_b.proto."""
    name = b"Node Control/Rebirth"
    metric = (
        b"\x0a" + bytes((len(name),)) + name + b"\x18" + varint(now_ms) + b"\x20" + bytes((_BOOLEAN,)) + b"\x70\x01"
    )
    return b"\x08" + varint(now_ms) + b"\x12" + bytes((len(metric),)) + metric
