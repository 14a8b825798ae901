"""Which reading times are stored, which wait in the quarantine, and which are late."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.instant import microseconds


@dataclass(frozen=True, slots=True)
class Window:
    """Reading times that are taken, microseconds since 1970, both inclusive; those before `live_us` are late."""

    oldest_us: int
    newest_us: int
    live_us: int = -(2**63)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which reading times are stored: from `past` before now to `future` after it; what is older than `live` is late.

    `live` is no more than what raw readings are kept uncompressed for.
    """

    past: timedelta
    future: timedelta
    live: timedelta = timedelta(days=2)

    def window(self, now: datetime) -> Window:
        """The bounds at `now`."""
        past, future, live = now - self.past, now + self.future, now - self.live
        return Window(microseconds(past), microseconds(future), microseconds(live))


ACCEPTANCE = Acceptance(past=timedelta(days=7), future=timedelta(minutes=5))
"""Raw readings are kept for 7 days; a clock may be 5 minutes ahead."""
