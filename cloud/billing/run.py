"""The run of a month: each block of meters in a transaction of its own, so that a run may end at any moment, and begin
again.

Any number of runs work at once: each takes meters that no other has.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime

import psycopg
from psycopg.errors import DeadlockDetected

from cloud.billing.block import Billed, Block
from cloud.db.queries import Queries
from cloud.errors import UnknownMeter
from cloud.operator import actor, rows

_QUERIES, _ENERGY = Queries("billing"), Queries("billing_energy")
_LARGEST = 500
_LONG_S = 2.0
"""For so long others may wait for a meter that is billed with others."""
_TRIES = 10
"""Of two transactions that wait for each other the database ends one, and the other goes on."""


class Run:
    """A run of `month` (its first day) on connections of its own; `meters` are codes, all without them.

    `domain` and `telemetry` are in autocommit. `clock` says what time it is. Blocks grow from `first` meters on.
    """

    def __init__(
        self,
        domain: psycopg.Connection,
        telemetry: psycopg.Connection,
        *,
        month: date,
        meters: Sequence[str] = (),
        clock: Callable[[], datetime],
        first: int = 1,
    ) -> None:
        self._domain, self._telemetry, self._clock, self._first = domain, telemetry, clock, first
        self._month, self._meters = month, self._numbers(meters) if meters else None
        self._begun = clock()

    def _numbers(self, codes: Sequence[str]) -> list[int]:
        found = {
            row["meter_code"]: row["meter_id"] for row in rows(self._domain, _QUERIES["meters"], {"codes": list(codes)})
        }
        for code in codes:
            if code not in found:
                raise UnknownMeter(code)
        return list(found.values())

    def __iter__(self) -> Iterator[Billed]:
        """Bills one block after another. Raises psycopg.Error where a database fails; what was billed is kept."""
        self._enlist()
        for connection in (self._domain, self._telemetry):
            # A bill has little to do, and planning it anew would take as long.
            connection.execute("SET plan_cache_mode = force_generic_plan")
        # Made in the transaction of the first bill, they would end with it every plan that names them.
        self._domain.execute(_QUERIES["open"])
        # What a meter takes is learnt from the first ones.
        size = self._first
        while True:
            began_s = time.monotonic()
            billed = self._tried(size)
            if not billed:
                # Another month's run has meters while it makes bills of this one anew.
                taken = {"month": self._month, "meters": self._meters, "begun": self._begun}
                [waited] = rows(self._domain, _QUERIES["wait"], taken)
                if not waited["left_over"]:
                    return
                continue
            yield from billed
            took_s = time.monotonic() - began_s
            if took_s < _LONG_S / 2:
                size = min(2 * size, _LARGEST)
            elif took_s > _LONG_S:
                size = max(size // 2, 1)

    def _enlist(self) -> None:
        self._domain.execute(_QUERIES["enlist"], {"month": self._month, "meters": self._meters})
        if self._meters is not None:
            return
        # Of one that was registered after the month there is nothing to tell, unless it measured something.
        later = rows(self._domain, _QUERIES["registered_later"], {"month": self._month})
        spans = {name: [row[name] for row in later] for name in ("meter_id", "since", "until")}
        measured = rows(self._telemetry, _ENERGY["measured"], spans) if later else []
        if measured:
            meters = [row["meter_id"] for row in measured]
            self._domain.execute(_QUERIES["enlist"], {"month": self._month, "meters": meters})

    def _tried(self, size: int) -> list[Billed]:
        # A run of a later month makes bills of earlier ones anew: the customers' credit that it has by then is what a
        # run of such a month wants, which has the meter.
        for _ in range(_TRIES - 1):
            with suppress(DeadlockDetected):
                return self._block(size)
        return self._block(size)

    def _block(self, size: int) -> list[Billed]:
        # A number is given in this transaction, and gone with it.
        with self._domain.transaction():
            self._domain.execute("SELECT set_config('segs.actor', %s, true)", [actor()])
            now = self._clock()
            taken = {"month": self._month, "meters": self._meters, "begun": self._begun, "limit": size, "now": now}
            found = rows(self._domain, _QUERIES["take"], taken)
            if not found:
                return []
            block = Block(self._domain, self._telemetry, month=self._month, meters=found, now=now)
            billed = block.bill()
            said = {
                "month": self._month,
                "meters": [meter["meter_id"] for meter in found],
                "states": [one.state for one in billed],
                "findings": json.dumps(
                    [[finding.document() for finding in (*one.findings, *one.notes)] for one in billed]
                ),
            }
            self._domain.execute(_QUERIES["report"], said)
        return billed
