"""How fast the gateway writes to its disk, and how long a flash card bears that."""

from collections import deque
from collections.abc import Callable

from edge.clock import Clock
from edge.kernel import written_bytes

_DAY_S = 86_400.0
_YEAR_DAYS = 365.25
_WINDOW_S, _SAMPLE_S = 3600.0, 60.0


class Wear:
    """What the process writes, at the pace of the last hour, or since it started while that is less.

    `written` is the process's count of bytes so far, None where nobody tells. What a card writes besides, since it
    erases more at a time than a commit fills, is in no count; a maker's endurance is given for the host's bytes too.
    """

    def __init__(self, *, clock: Clock, written: Callable[[], int | None] = written_bytes) -> None:
        self._clock, self._written = clock, written
        self._samples: deque[tuple[float, int]] = deque()
        self.look()

    def look(self) -> int | None:
        """Bytes so far; to be called about once a minute, more often does no harm."""
        now_s, total = self._clock.monotonic_s(), self._written()
        if total is not None and (not self._samples or now_s - self._samples[-1][0] >= _SAMPLE_S):
            self._samples.append((now_s, total))
            while len(self._samples) > 1 and now_s - self._samples[1][0] >= _WINDOW_S:
                self._samples.popleft()
        return total

    @property
    def bytes_a_day(self) -> int | None:
        """At the present pace; None in the first minute, and where nobody tells."""
        total = self.look()
        if total is None or not self._samples:
            return None
        since_s, before = self._samples[0]
        passed_s = self._clock.monotonic_s() - since_s
        return round((total - before) * _DAY_S / passed_s) if passed_s >= _SAMPLE_S else None


def card_years(endurance_bytes: int, bytes_a_day: int) -> float | None:
    """How long a card lasts that bears `endurance_bytes`; None while nothing is written."""
    return endurance_bytes / bytes_a_day / _YEAR_DAYS if bytes_a_day else None
