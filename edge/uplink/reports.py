"""The gateway's report to the receiver: each minute, and soon after something has changed."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from contract.report import Report
from edge.clock import STEP_S, Clock, either
from edge.errors import BufferUnwritable
from edge.repeats import Repeats
from edge.uplink.answer import NotSent, Refused
from edge.uplink.receiver import ReceiverClient
from edge.uplink.state import UplinkState

_LOG = structlog.get_logger("edge.uplink")
_INTERVAL_S = 60.0
_SOON_S = 5.0
_NOT_TAKEN_S = 3600.0


class Reports:
    """`make` gives the report; `agreed` is set while the receiver can be reached. What fails here holds up nothing."""

    def __init__(
        self,
        *,
        receiver: ReceiverClient,
        make: Callable[[], Awaitable[Report]],
        agreed: asyncio.Event,
        state: UplinkState,
        clock: Clock,
        jitter: random.Random,
        moving: Callable[[], None],
    ) -> None:
        self._receiver, self._make, self._agreed, self._state = receiver, make, agreed, state
        self._clock, self._jitter, self._moving = clock, jitter, moving
        self._repeats = Repeats(clock=clock)
        self._changed = asyncio.Event()
        self._due_s = float("-inf")
        self._not_before_s = float("-inf")

    def soon(self) -> None:
        """Something changed: do not wait for the minute."""
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Report until `stop`."""
        while not stop.is_set():
            self._moving()
            if not self._agreed.is_set():
                await either(stop, self._agreed, STEP_S)
            elif (wait_s := self._wait_s()) > 0:
                await either(stop, stop if self._changed.is_set() else self._changed, min(wait_s, STEP_S))
            else:
                await self._report()

    def _wait_s(self) -> float:
        due_s = self._not_before_s if self._changed.is_set() else max(self._due_s, self._not_before_s)
        return due_s - self._clock.monotonic_s()

    async def _report(self) -> None:
        self._changed.clear()
        least_s = _SOON_S
        try:
            await self._receiver.put_report(await self._make())
        except NotSent as error:
            least_s = _NOT_TAKEN_S if error.missing else max(error.retry_after_s or 0.0, _INTERVAL_S)
            self._failed(error.reason)
        except (Refused, BufferUnwritable) as error:
            least_s = _INTERVAL_S
            self._failed(str(error))
        else:
            self._state.reports += 1
            self._repeats.over("report")
        now_s = self._clock.monotonic_s()
        self._not_before_s = now_s + least_s * self._jitter.uniform(1.0, 1.25)
        self._due_s = now_s + _INTERVAL_S * self._jitter.uniform(0.8, 1.0)

    def _failed(self, reason: str) -> None:
        if (count := self._repeats.due("report")) is not None:
            _LOG.info("the report was not taken", reason=reason, failures_not_logged=count)
