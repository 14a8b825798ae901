"""A machine's clocks, set and moved by hand."""

from edge.clock import Clock
from edge.timekeeping import Timekeeper

NOON_US = 1_795_780_800_000_000
"""2026-11-27T12:00:00Z"""


class Machine:
    """Time that passes when it is told to: `wall_us` may be stepped, the others may not."""

    def __init__(self, wall_us: int = NOON_US, *, boottime_us: int = 7_000_000) -> None:
        self.wall_us, self.boottime_us = wall_us, boottime_us
        self.asleep_us = 0
        self.synchronized = False

    @property
    def clock(self) -> Clock:
        return Clock(
            now_us=lambda: self.wall_us,
            monotonic_s=lambda: (self.boottime_us - self.asleep_us) / 1e6,
            boottime_us=lambda: self.boottime_us,
        )

    def passes(self, seconds: float, *, slewed_ppm: float = 0) -> None:
        self.boottime_us += round(seconds * 1e6)
        self.wall_us += round(seconds * (1e6 + slewed_ppm))

    def sleeps(self, seconds: float) -> None:
        self.passes(seconds)
        self.asleep_us += round(seconds * 1e6)

    def stepped(self, seconds: float) -> None:
        self.wall_us += round(seconds * 1e6)

    def timekeeper(self) -> Timekeeper:
        return Timekeeper(clock=self.clock, boot_id="boot", synchronized=lambda: self.synchronized)
