"""What a unit on RTU has not answered yet: late replies have no number, but need not look like the one that counts."""

import struct
import time

from edge.drivers.modbus import pdu

# A reply does not come later than this, and nothing can hold so many back.
_LONGEST_OWED_S = 20.0
_MOST_OWED = 60


class Owed:
    """Requests of one unit without an answer, the last of them sent a moment ago. Units answer in order."""

    def __init__(self) -> None:
        self._requests: list[pdu.Request] = []
        self._last_s = 0.0

    def add(self, request: pdu.Request) -> None:
        self._requests.append(request)
        del self._requests[:-_MOST_OWED]
        self._last_s = time.monotonic()

    @property
    def may_come(self) -> bool:
        return time.monotonic() - self._last_s < _LONGEST_OWED_S

    def probe(self, known: pdu.Request | None = None) -> pdu.Request:
        """A read whose answer has another length than the answer to any of them.

        It is `known`, which the unit has answered, or near that; near the first request where nothing is known. A unit
        may be silent on what it owes because it never answers that.
        """
        lengths = {request.length for request in self._requests}
        if known is not None and known.length not in lengths:
            return known
        function, address, count = struct.unpack_from(">BHH", (known or self._requests[0]).pdu)
        if function not in (3, 4):
            function, count = 3, 1
        # Two fewer and not one: many meters refuse half of a 32-bit value. More than was asked is the last resort.
        for size in (*range(count - 2, 0, -2), *range(1, 126)):
            probe = pdu.reading(function, min(address, 0x10000 - size), size)
            if probe.length not in lengths:
                return probe
        raise AssertionError(f"{len(lengths)} lengths are owed, and there are 125")
