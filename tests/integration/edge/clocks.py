"""A wall clock that tests may set, over the machine's own monotonic one."""

from edge.clock import Clock

NOON_US = 1_795_780_800_000_000
"""2026-11-27T12:00:00Z"""


class WallClock:
    """`ahead_us` is what it shows less the monotonic clock; `ahead_us` of 0 is an uptime in 1970."""

    def __init__(self, ahead_us: int = 0) -> None:
        self.ahead_us = ahead_us

    @property
    def clock(self) -> Clock:
        return Clock(now_us=lambda: Clock().boottime_us() + self.ahead_us)
