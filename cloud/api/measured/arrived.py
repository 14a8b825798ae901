"""Whether readings have arrived of what is remembered: one statement, while there is anything to remember."""

import asyncio
import time

import psycopg
import structlog

from cloud.api.measured.memory import Memory
from cloud.db.lanes import Lanes

_LOG = structlog.get_logger("segs.api")
_PAUSE_S, _GOOD_S = 0.2, 0.25
# Of the time; a look that takes long makes the next one later, and meanwhile nothing is answered from memory. What is
# remembered is over by the longest pause: a database that stood still for once is asked again by then.
_SHARE, _LONGEST_PAUSE_S = 0.05, 10.0


class Arrived:
    """Looks at the telemetry database each 0.2 s, and has `memory` forget what was read before readings arrived."""

    def __init__(self, telemetry: Lanes, memory: Memory) -> None:
        self._telemetry, self._memory = telemetry, memory
        self._cursor: bytes | None = None
        self._good_until_s = 0.0

    def holds(self, now_s: float) -> bool:
        """Whether all is known that had arrived 0.25 s before `now_s`, by the monotonic clock."""
        return now_s < self._good_until_s

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._memory.used.wait()
            began_s = time.monotonic()
            self._memory.purge(began_s)
            if not len(self._memory):
                # Arrivals of an hour are not looked through for what nobody remembers.
                self._cursor = None
                continue
            await self._look(began_s)
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(_PAUSE_S - took_s, min(took_s / _SHARE - took_s, _LONGEST_PAUSE_S)))

    async def _look(self, began_s: float) -> None:
        meters = b"{" + b",".join(b"%d" % meter for meter in self._memory.looked_for()) + b"}"
        try:
            [(cursor, found)] = await self._telemetry.ask("arrived", (meters, self._cursor))
        except psycopg.Error as error:
            _LOG.warning("arrivals_unknown", error=str(error).strip())
            self._cursor, self._good_until_s = None, 0.0
            self._memory.all_arrived()
            return
        assert found is not None
        if self._cursor is None:
            self._memory.all_arrived()
        else:
            self._memory.arrived(int(meter) for meter in found[1:-1].split(b",") if meter)
        self._cursor = cursor
        self._good_until_s = began_s + _GOOD_S
