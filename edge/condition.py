"""How the gateway's clock, buffer and disk are: what the daemon finds out now and then, for status, metrics, report."""

import asyncio
from pathlib import Path

from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp
from edge.buffer.queue import BufferQueue
from edge.config.models import Config
from edge.errors import BufferDamaged, BufferUnwritable
from edge.status import BUFFER_FILE, free_bytes
from edge.stored import MOST_SPANS, Totals, Unreadable, files_set_aside, totals_in
from edge.timekeeping import Timekeeper
from edge.wear import Wear


class Condition:
    """Counts and clocks are of the moment; what has to be asked of the disk is as of the last `look`."""

    def __init__(self, *, config: Config, timekeeper: Timekeeper, wear: Wear, queue: BufferQueue) -> None:
        self._config, self._timekeeper, self._wear, self._queue = config, timekeeper, wear, queue
        self._path = config.data_dir / BUFFER_FILE
        self._spans: list[tuple[int, int]] = []
        self._used_bytes = 0
        self._free_bytes: int | None = None
        self._set_aside: list[str] = []
        self._totals = Totals()

    async def look(self) -> None:
        """Ask the disk; about once in ten seconds. What it does not say stays as it was."""
        self._wear.look()
        self._free_bytes = await asyncio.to_thread(free_bytes, self._config.data_dir)
        store = self._queue.store
        if store is None:
            return
        try:
            self._used_bytes = await store.used_bytes()
            self._spans = await store.backlog_spans(MOST_SPANS)
            self._totals, self._set_aside = await asyncio.to_thread(_asked, self._path)
        except (BufferUnwritable, BufferDamaged, Unreadable, OSError):
            return  # The buffer says so itself.

    @property
    def backlog(self) -> BacklogReport | None:
        store = self._queue.store
        if store is None:
            return None
        found = store.backlog
        spans = self._spans if found.readings else []
        return BacklogReport(found.readings, found.bytes, spans[0][0] if spans else None, spans)

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
        keeper = self._timekeeper
        offset_s = keeper.offset_s
        rounded_s = None if offset_s is None else round(offset_s, 3)
        return ClockReport(rounded_s, keeper.synchronized, self._totals.corrected)

    @property
    def time_known(self) -> bool:
        return self._timekeeper.true_offset_us() is not None

    @property
    def given_up(self) -> GivenUp:
        return self._totals.given_up


def _asked(path: Path) -> tuple[Totals, list[str]]:
    return totals_in(path), files_set_aside(path)
