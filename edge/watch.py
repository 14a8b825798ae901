"""Looks at a running gateway from beside it: silences, trouble, the status file, and the service manager's watchdog."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from edge.buffer.queue import BufferQueue
from edge.clock import Clock, signalled
from edge.heartbeat import Heartbeats
from edge.silences import Silences
from edge.status.condition import Condition
from edge.status.running import Running, write_soon
from edge.systemd import Notifier

_LOG = structlog.get_logger("edge.app")
_LOOK_S = 1.0
# Who asks is answered by the daemon itself; the file is for who asks when it is gone.
_STATUS_INTERVAL_S = 600.0
_WATCHDOG_S = 30.0


class Watch:
    """`running` gives everything as it is now; `changed` is called when trouble begins or ends.

    A loop that has not moved for `stuck_after_s` is stuck.
    """

    def __init__(
        self,
        *,
        running: Callable[[], Running],
        changed: Callable[[], None],
        condition: Condition,
        queue: BufferQueue,
        silences: Silences,
        beats: Heartbeats,
        notifier: Notifier,
        clock: Clock,
        data_dir: Path,
        stuck_after_s: float,
    ) -> None:
        self._running, self._changed, self._condition = running, changed, condition
        self._queue, self._silences, self._beats, self._notifier = queue, silences, beats, notifier
        self._clock, self._data_dir, self._stuck_after_s = clock, data_dir, stuck_after_s

    async def look(self, done: asyncio.Event) -> None:
        """Look at everything each second: note silences, report trouble that begins or ends, keep the status file."""
        last, written_s, told = False, float("-inf"), None
        noted = False
        while not last:
            last = await signalled(done, _LOOK_S)
            await self._condition.look()
            running = self._running()
            if self._queue.opened.is_set():
                if not noted:
                    self._silences.not_running_since(self._queue.store.newest_us)
                    noted = True
                for note in () if last else self._silences.look(running.devices):
                    self._queue.note(note)
                self._queue.lost_notes(self._silences.lost())
            waiting = 0 if running.backlog is None else running.backlog.readings
            self._notifier.status(
                f"{len(running.devices)} meters, {running.buffer.committed} readings buffered, "
                f"{running.uplink.readings} synced, backlog {waiting}"
            )
            if (trouble := running.trouble()) != told:
                told = trouble
                self._changed()
            if last or self._clock.monotonic_s() - written_s >= _STATUS_INTERVAL_S:
                written_s = self._clock.monotonic_s()
                # A full disk must not end the metering that it keeps from being stored.
                with contextlib.suppress(OSError):
                    await write_soon(running, self._data_dir)

    async def guard(self, done: asyncio.Event) -> None:
        """Tell the service manager that all loops move, and nothing when one does not: then it restarts us."""
        pause_s = min((self._notifier.watchdog_s or _WATCHDOG_S) / 3, 10.0)
        while not await signalled(done, pause_s):
            if stuck := self._beats.stuck(self._stuck_after_s):
                _LOG.error("loops do not move", loops=stuck)
            else:
                self._notifier.alive()
