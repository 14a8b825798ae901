"""A fault in time: when it lasts, and which requests it hits."""

from firmware_sim import chance
from firmware_sim.faults.spec import FaultSpec


class Fault:
    """One fault with its schedule, in microseconds since 1970; `key` decides which requests a share hits."""

    def __init__(self, spec: FaultSpec, *, start_us: int, key: int) -> None:
        self.spec, self.kind = spec, spec.kind
        self.begin_us = start_us + round(spec.start_s * 1e6) if spec.at is None else round(spec.at.timestamp() * 1e6)
        self._every_us = round(spec.every_s * 1e6) if spec.every_s else None
        self._for_us = round(spec.for_s * 1e6) if spec.for_s else None
        self._end_us: int | None = None
        self.key, self._asked, self._window, self._hits = key, 0, -1, 0

    def end(self, t_us: int) -> None:
        """Ends it for good, unless it was ended before."""
        self._end_us = t_us if self._end_us is None else min(self._end_us, t_us)

    def since_us(self, t_us: int) -> int | None:
        """When it last began, if it lasts at `t_us`."""
        into_us = t_us - self.begin_us
        if into_us < 0 or (self._end_us is not None and t_us >= self._end_us):
            return None
        if self._every_us is not None:
            into_us %= self._every_us
        return t_us - into_us if self._for_us is None or into_us < self._for_us else None

    def next_change_us(self, t_us: int) -> int | None:
        """The first instant after `t_us` at which it begins or ends."""
        change_us = self._scheduled_us(t_us)
        if self._end_us is None or (change_us is not None and change_us < self._end_us):
            return change_us
        return self._end_us if t_us < self._end_us else None

    def over(self, t_us: int) -> bool:
        """Whether it will never last again."""
        return self.since_us(t_us) is None and self.next_change_us(t_us) is None

    def hits(self, t_us: int) -> bool:
        """Whether it hits the request of `t_us`, which it counts."""
        since_us = self.since_us(t_us)
        if since_us is None:
            return False
        if since_us != self._window:
            self._window, self._hits = since_us, 0
        if self.spec.share is not None:
            self._asked += 1
            if chance.draw(self.key, self._asked) >= self.spec.share * 2**64:
                return False
        if self.spec.limit is not None and self._hits >= self.spec.limit:
            return False
        self._hits += 1
        return True

    def _scheduled_us(self, t_us: int) -> int | None:
        into_us = t_us - self.begin_us
        if into_us < 0:
            return self.begin_us
        began_us = self.begin_us + (into_us // self._every_us * self._every_us if self._every_us else 0)
        if self._for_us is not None and t_us < began_us + self._for_us:
            return began_us + self._for_us
        return began_us + self._every_us if self._every_us else None
