"""When which device of a bus is due: a fixed rate for each, phases spread, dead ones asked ever less often."""

import heapq
import random
from collections.abc import Sequence

_JITTER = random.Random()
_LONGEST_PAUSE_S = 60.0
# Event loops round their timers to milliseconds: what is due within half of one is due now.
_EARLY_S = 0.000_5


class Schedule:
    """Due times of devices 0, 1, … in monotonic seconds.

    A due time is always `start + phase + k * interval`, so that delays never add up; slots that have passed are
    skipped and counted, never caught up in a burst.
    """

    def __init__(self, *, intervals_s: Sequence[float], start_s: float, jitter: random.Random | None = None) -> None:
        self._intervals_s = tuple(intervals_s)
        count = len(self._intervals_s)
        self._origin_s = [start_s + interval * index / count for index, interval in enumerate(self._intervals_s)]
        self._slots = [0] * count
        self._heap = [(origin, index) for index, origin in enumerate(self._origin_s)]
        heapq.heapify(self._heap)
        self._jitter = jitter or _JITTER
        self.overruns = [0] * count
        """Slots that passed while the bus was busy, by device. Those that a failing device was left out are none."""

    @property
    def next_due_s(self) -> float:
        return self._heap[0][0]

    def take(self, now_s: float) -> int | None:
        """The device that has been due longest at `now_s`, or None. It is out of the schedule until `done`."""
        return heapq.heappop(self._heap)[1] if self._heap[0][0] <= now_s + _EARLY_S else None

    def resume(self, now_s: float) -> None:
        """Forget the slots that passed while no device could be asked: they are no overruns. What is due stays due."""
        for device, (interval_s, origin_s) in enumerate(zip(self._intervals_s, self._origin_s, strict=True)):
            self._slots[device] = max(self._slots[device], int((now_s - origin_s) // interval_s))

    def done(self, device: int, now_s: float, failures_in_a_row: int = 0) -> float:
        """Schedule `device` again; after failures at a later slot, doubling up to a minute. Returns the due time."""
        interval_s, origin_s = self._intervals_s[device], self._origin_s[device]
        earliest_s = now_s
        if failures_in_a_row:
            pause_s = min(interval_s * 2.0 ** min(failures_in_a_row, 16), max(_LONGEST_PAUSE_S, interval_s))
            earliest_s += pause_s * self._jitter.uniform(0.5, 1.0)
        before = self._slots[device]
        # After the slot that was served, which may have been served a little early.
        slot = max(before + 1, int((earliest_s - origin_s) // interval_s) + 1)
        if not failures_in_a_row:
            self.overruns[device] += slot - before - 1
        self._slots[device] = slot
        due_s = origin_s + slot * interval_s
        heapq.heappush(self._heap, (due_s, device))
        return due_s
