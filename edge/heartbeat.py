"""Whether the daemon's loops really move: each beats at every step, and a loop that stops beating is stuck."""

from collections.abc import Callable

from edge.clock import Clock


class Heartbeats:
    """The loops by name, and when each last moved."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._last_s: dict[str, float] = {}

    def loop(self, name: str) -> Callable[[], None]:
        """Register the loop `name`, which has moved just now; what it calls at each step."""

        def beat() -> None:
            self._last_s[name] = self._clock.monotonic_s()

        beat()
        return beat

    def stuck(self, limit_s: float) -> list[str]:
        """Loops that have not moved for more than `limit_s`."""
        now_s = self._clock.monotonic_s()
        return sorted(name for name, last_s in self._last_s.items() if now_s - last_s > limit_s)
