"""How the gateway's clock, buffer and disk are: what the daemon finds out now and then, for status, metrics, report."""

import asyncio
from pathlib import Path

from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp
from edge.buffer.queue import BufferQueue
from edge.buffer.store import Store
from edge.clock import Clock
from edge.config.models import Config
from edge.errors import BufferDamaged, BufferUnwritable
from edge.status.status import BUFFER_FILE, free_bytes
from edge.status.stored import Totals, Unreadable, files_set_aside, totals_in
from edge.status.wear import Wear
from edge.timekeeping import Timekeeper

# What only changes slowly costs a look at the disk.
_DISK_S = 10.0


class Condition:
    """Clocks are of the moment, the backlog is as of the last `look`, the disk and spans of ten seconds before at
    most."""

    def __init__(
        self, *, config: Config, clock: Clock, timekeeper: Timekeeper, wear: Wear, queue: BufferQueue, store: Store
    ) -> None:
        self.backlog: BacklogReport | None = None
        """Running totals; None before the buffer is open."""
        self._config, self._clock, self._timekeeper, self._wear = config, clock, timekeeper, wear
        self._queue, self._store = queue, store
        self._path = config.data_dir / BUFFER_FILE
        self._due_s = float("-inf")
        self._spans: list[tuple[int, int]] = []
        self._used_bytes = 0
        self._free_bytes: int | None = None
        self._set_aside: list[str] = []
        self._totals = Totals()

    async def look(self) -> None:
        """To be called about once a second. What the disk does not say stays as it was."""
        self._wear.look()
        try:
            if self._queue.opened.is_set():
                found = await self._store.backlog()
                self.backlog = BacklogReport(found.readings, found.bytes, found.oldest_us, self._spans)
            if self._clock.monotonic_s() >= self._due_s:
                self._due_s = self._clock.monotonic_s() + _DISK_S
                await self._look_at_disk()
        except (BufferUnwritable, BufferDamaged, Unreadable, OSError):
            return  # The buffer says so itself.

    async def _look_at_disk(self) -> None:
        self._free_bytes = await asyncio.to_thread(free_bytes, self._config.data_dir)
        if self._queue.opened.is_set():
            self._used_bytes, self._spans = await self._store.used_bytes(), await self._store.backlog_spans()
            self._totals, self._set_aside = await asyncio.to_thread(_asked, self._path)

    @property
    def disk(self) -> BufferReport:
        return BufferReport(
            used_bytes=self._used_bytes,
            max_bytes=self._config.buffer.max_bytes,
            free_disk_bytes=self._free_bytes,
            written_bytes_a_day=self._wear.bytes_a_day,
            unwritable=self._queue.state.unwritable,
            set_aside=self._set_aside,
        )

    @property
    def written_bytes(self) -> int | None:
        return self._wear.look()

    @property
    def clock(self) -> ClockReport:
        offset_s = self._timekeeper.offset_s
        rounded_s = None if offset_s is None else round(offset_s, 3)
        return ClockReport(rounded_s, self._timekeeper.synchronized, self._totals.corrected)

    @property
    def time_known(self) -> bool:
        return self._timekeeper.true_offset_us() is not None

    @property
    def given_up(self) -> GivenUp:
        return self._totals.given_up

    @property
    def lost_notes(self) -> int:
        return self._totals.lost_notes


def _asked(path: Path) -> tuple[Totals, list[str]]:
    return totals_in(path), files_set_aside(path)
