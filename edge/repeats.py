"""Logging the same trouble at first, and then ever less often, so that a dead device does not fill the disk."""

from edge.clock import Clock

_FIRST_PAUSE_S = 10.0
_LONGEST_PAUSE_S = 3600.0


class Repeats:
    """Remembers per subject when its trouble was last logged. Subjects are a fixed few: devices and endpoints."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, float, int]] = {}

    def due(self, subject: str) -> int | None:
        """Whether to log now: how many repetitions went unlogged since the last time, or None for not now."""
        now_s = self._clock.monotonic_s()
        if subject not in self._seen:
            self._seen[subject] = (now_s + _FIRST_PAUSE_S, _FIRST_PAUSE_S, 0)
            return 0
        next_s, pause_s, count = self._seen[subject]
        if now_s < next_s:
            self._seen[subject] = (next_s, pause_s, count + 1)
            return None
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self._seen[subject] = (now_s + pause_s, pause_s, 0)
        return count

    def over(self, subject: str) -> bool:
        """Forget the trouble of `subject`; whether there was any."""
        return self._seen.pop(subject, None) is not None
