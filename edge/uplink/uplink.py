"""The way out of the gateway: both lanes, the reports, and what is sent at the end."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from contract.report import Report
from edge.buffer.batches import Lane
from edge.buffer.store import Store
from edge.clock import STEP_S, Clock, either
from edge.errors import BufferUnwritable
from edge.heartbeat import Heartbeats
from edge.uplink.agreement import Agreement
from edge.uplink.answer import NotSent
from edge.uplink.backlog import BacklogLane
from edge.uplink.delivery import Delivery
from edge.uplink.live import LiveLane
from edge.uplink.pace import Credit
from edge.uplink.receiver import ReceiverClient, ReceiverClock
from edge.uplink.reports import Reports
from edge.uplink.state import UplinkState

_LOG = structlog.get_logger("edge.uplink")
_LONG_S = 10.0


class Source(Protocol):
    """Where batches come from. `news` is set at each commit, `opened` once the store can be used."""

    opened: asyncio.Event
    news: asyncio.Event

    @property
    def store(self) -> Store: ...


class Uplink:
    """Sends what the queue's store holds, as soon as that is open; an async context manager around the connection.

    `report` makes a report, `timekeeper` is told the receiver's clock. A batch stays in the store until the receiver
    still has it `keep_delivered_s` after its receipt.
    """

    def __init__(
        self,
        *,
        queue: Source,
        url: str,
        key_file: Path,
        clock: Clock,
        timekeeper: ReceiverClock,
        report: Callable[[], Awaitable[Report]],
        beats: Heartbeats,
        send_interval_s: float,
        timeout_s: float,
        max_readings: int,
        keep_delivered_s: float,
        jitter: random.Random | None = None,
    ) -> None:
        self.state = UplinkState()
        self._queue, self._clock, self._jitter = queue, clock, jitter or random.Random()
        self._send_interval_s, self._max_readings = send_interval_s, max_readings
        # Longer than that a live batch is not to wait for one of backlog.
        self._long_s = min(_LONG_S, timeout_s / 2)
        self._keep_s = keep_delivered_s
        self._beats = {name: beats.loop(f"uplink {name}") for name in ("live", "backlog", "reports")}
        self._credit = Credit(clock=clock, jitter=self._jitter)
        self._receiver = ReceiverClient(
            url=url, key_file=key_file, timeout_s=timeout_s, clock=clock, timekeeper=timekeeper, credit=self._grant
        )
        self._agreed = asyncio.Event()
        self._common: tuple[Agreement, Delivery] | None = None
        self._reports = Reports(
            receiver=self._receiver,
            make=report,
            agreed=self._agreed,
            state=self.state,
            clock=clock,
            jitter=self._jitter,
            moving=self._beats["reports"],
        )

    async def __aenter__(self) -> "Uplink":
        await self._receiver.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._receiver.__aexit__(*details)

    def report_soon(self) -> None:
        """Something changed that the receiver should hear of before the minute is over."""
        self._reports.soon()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`, from when the store is open."""
        while not self._queue.opened.is_set() and not stop.is_set():
            for moving in self._beats.values():
                moving()
            await either(stop, self._queue.opened, STEP_S)
        if stop.is_set():
            return
        store = self._queue.store
        agreement, delivery = self._open(store)
        backlog = BacklogLane(
            store=store,
            delivery=delivery,
            agreement=agreement,
            credit=self._credit,
            clock=self._clock,
            jitter=self._jitter,
            max_readings=self._max_readings,
            long_s=self._long_s,
            moving=self._beats["backlog"],
        )
        live = LiveLane(
            store=store,
            news=self._queue.news,
            delivery=delivery,
            agreement=agreement,
            state=self.state,
            clock=self._clock,
            jitter=self._jitter,
            send_interval_s=self._send_interval_s,
            max_readings=self._max_readings,
            moving=self._beats["live"],
            hold=backlog.hold,
            wake=backlog.wake,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(live.run(stop), name="uplink live")
            group.create_task(backlog.run(stop), name="uplink backlog")
            group.create_task(self._reports.run(stop), name="uplink reports")

    async def send_rest(self, deadline_s: float) -> None:
        """One attempt for each batch that is left, live ones first, until the deadline in monotonic seconds.

        The first failure ends it too.
        """
        if not self._queue.opened.is_set():
            return
        store = self._queue.store
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic_s())):
                agreement, delivery = self._open(store)
                await agreement.keep()
                await store.cut_live(self._max_readings)
                for lane in Lane:
                    await self._empty(store, lane, delivery)
        except (NotSent, BufferUnwritable, TimeoutError) as error:
            _LOG.info("backlog left for the next start", reason=str(error) or "deadline")

    async def _empty(self, store: Store, lane: Lane, delivery: Delivery) -> None:
        while True:
            batches = await store.outstanding(lane)
            if batches:
                await delivery.send(batches[0])
            elif lane is Lane.LIVE or not await store.cut_backlog(self._max_readings, 1):
                return

    def _open(self, store: Store) -> tuple[Agreement, Delivery]:
        """What both lanes have in common, made once."""
        if self._common is None:
            agreement = Agreement(
                store=store,
                receiver=self._receiver,
                state=self.state,
                clock=self._clock,
                jitter=self._jitter,
                keep_s=self._keep_s,
                agreed=self._agreed,
            )
            delivery = Delivery(
                store=store,
                receiver=self._receiver,
                agreement=agreement,
                state=self.state,
                clock=self._clock,
                long_s=self._long_s,
                changed=self._reports.soon,
            )
            self._common = agreement, delivery
        return self._common

    def _grant(self, batches: int, retry_after_s: float | None) -> None:
        self._credit.grant(batches, retry_after_s=retry_after_s)
        self.state.credit = self._credit.granted
