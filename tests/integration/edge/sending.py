"""An uplink at work: a real buffer, numbered readings, and a clock that can be moved on."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp, Report
from edge.buffer.limits import Limits
from edge.buffer.store import Store
from edge.clock import Clock
from edge.heartbeat import Heartbeats
from edge.reading import Reading
from edge.uplink.uplink import Uplink
from tests.integration.edge.peers import Receiver, eventually

FIRST_US = 1_795_000_000_000_000


def reading(number: int) -> Reading:
    return Reading("meter", FIRST_US + number * 1_000_000, {"energy_import_wh": number}, 0, 1000)


def numbers(receiver: Receiver) -> list[int]:
    """What was stored, each reading once."""
    return sorted(values["energy_import_wh"] for values in receiver.stored.values())


def numbers_as_sent(receiver: Receiver) -> list[int]:
    """What was committed, as often as it was."""
    return sorted(values["energy_import_wh"] for _, _, values in receiver.rows())


class Heard:
    """A timekeeper that remembers: receiver's time, resolution, and the seconds that the exchange took."""

    def __init__(self) -> None:
        self.times: list[tuple[int, int, float]] = []

    def heard(self, receiver_us: int, *, asked_s: float, answered_s: float, resolution_us: int) -> None:
        self.times.append((receiver_us, resolution_us, answered_s - asked_s))


class Site:
    """One gateway's uplink and what it sends from. `skip` lets time pass."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "buffer.sqlite"
        self.heard = Heard()
        self.opened, self.news = asyncio.Event(), asyncio.Event()
        self.skipped_s = 0.0
        self.clock = Clock(
            now_us=lambda: time.time_ns() // 1000 + round(self.skipped_s * 1e6),
            monotonic_s=lambda: time.monotonic() + self.skipped_s,
        )
        self.troubles: list[str] = []
        self.store: Store
        self.uplink: Uplink

    def skip(self, seconds: float) -> None:
        self.skipped_s += seconds

    async def put(self, *which: int) -> None:
        await self.commit(which)

    async def put_singly(self, receiver: Receiver, *which: int) -> None:
        """Each as a batch of its own, once the one before has arrived."""
        for number in which:
            before = self.uplink.state.live.readings
            await self.put(number)
            await self._delivered(receiver, number, before)

    async def _delivered(self, receiver: Receiver, number: int, readings: int) -> None:
        await eventually(lambda: number in numbers(receiver) and self.uplink.state.live.readings > readings)

    async def commit(self, which: Iterable[int]) -> None:
        await self.store.commit([reading(number) for number in which])
        self.news.set()

    async def report(self) -> Report:
        return Report(
            software="segs-edge/test",
            boot_id="boot",
            started_us=0,
            sent_us=self.clock.now_us(),
            stream=self.store.stream,
            next_seq=self.store.next_seq,
            loss_window_s=1.0,
            backlog=BacklogReport(),
            buffer=BufferReport(),
            clock=ClockReport(),
            given_up=GivenUp(),
            troubles=self.troubles,
        )


@asynccontextmanager
async def sending(
    folder: Path,
    url: str,
    *,
    key: str | None = "segs_secret",
    timeout_s: float = 5.0,
    max_readings: int = 5000,
    send_interval_s: float = 0.05,
    keep_delivered_s: float = 60.0,
    backlog: Sequence[Sequence[int]] = (),
    seed: int = 1,
    rest_s: float = 0.0,
) -> AsyncIterator[Site]:
    """A site that sends to `url`, with groups of readings in its backlog, and `rest_s` seconds to send what is left."""
    site = Site(folder)
    key_file = folder / "gateway.key"
    if key is not None:
        key_file.write_text(key + "\n")
    stop = asyncio.Event()
    site.store = Store(path=site.file, clock=site.clock, limits=Limits(max_bytes=2**30))
    await site.store.open()
    for group_of_numbers in backlog:
        await site.commit(group_of_numbers)
    site.uplink = Uplink(
        queue=site,
        url=url,
        key_file=key_file,
        clock=site.clock,
        timekeeper=site.heard,
        report=site.report,
        beats=Heartbeats(clock=site.clock),
        send_interval_s=send_interval_s,
        timeout_s=timeout_s,
        max_readings=max_readings,
        keep_delivered_s=keep_delivered_s,
        jitter=random.Random(seed),
    )
    try:
        async with site.uplink:
            async with asyncio.TaskGroup() as group:
                group.create_task(site.uplink.run(stop))
                site.opened.set()
                yield site
                stop.set()
            if rest_s:
                await site.uplink.send_rest(site.clock.monotonic_s() + rest_s)
    finally:
        await site.store.close()
