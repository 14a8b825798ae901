"""The time of day as the simulator knows it; a parameter everywhere else."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Microseconds since 1970-01-01T00:00:00Z."""


def now_us() -> int:
    return time.time_ns() // 1000
