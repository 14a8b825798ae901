"""How soon and how much: pauses with jitter, the receiver's credit, the size of a batch of backlog."""

import random

from edge.clock import Clock
from edge.uplink.answer import NotSent

_SOON_S = (0.25, 30.0)
_SLOW_S = (5.0, 300.0)
_LONGEST_RETRY_AFTER_S = 900.0
_MOST_CREDIT = 8
_CREDIT_AGAIN_S = 60.0
_FEWEST, _FIRST = 50, 1_000


def pause_s(error: NotSent, failures: int, jitter: random.Random) -> float:
    """How long to wait after `error`, the one of `failures` in a row.

    Full jitter, so that gateways which lost the receiver together do not come back together; what the receiver asks
    for comes on top.
    """
    first_s, longest_s = _SLOW_S if error.slow else _SOON_S
    bound_s = min(longest_s, first_s * 2.0 ** min(failures, 16))
    wait_s = jitter.uniform(0 if not error.slow else first_s, max(bound_s, first_s))
    if error.retry_after_s is not None:
        wait_s += min(error.retry_after_s, _LONGEST_RETRY_AFTER_S)
    return wait_s


class Credit:
    """How many batches of backlog may be under way at once: the receiver's last word, 1 if it has none."""

    def __init__(self, *, clock: Clock, jitter: random.Random) -> None:
        self.granted = 1
        self._clock, self._jitter = clock, jitter
        self._again_s = 0.0

    def grant(self, batches: int, *, retry_after_s: float | None = None) -> None:
        """What an answer says. More than there is memory for on a small board is not taken."""
        self.granted = min(max(batches, 0), _MOST_CREDIT)
        wait_s = _CREDIT_AGAIN_S if retry_after_s is None else min(retry_after_s, _LONGEST_RETRY_AFTER_S)
        self._again_s = self._clock.monotonic_s() + wait_s * self._jitter.uniform(1.0, 1.25)

    @property
    def now(self) -> int:
        """The credit; when it was 0 and nobody has said anything for a while, a single batch asks anew."""
        return self.granted or int(self._clock.monotonic_s() >= self._again_s)


class BatchSize:
    """Readings in a batch of backlog: as many as go in `long_s`, so that live batches never wait for longer.

    It begins small: a batch that is cut does not become smaller on a link that turns out to be slow.
    """

    def __init__(self, most: int, long_s: float) -> None:
        self._most, self._long_s = most, long_s
        self.readings = min(_FIRST, most)

    def sent(self, readings: int, seconds: float) -> None:
        """A batch of `readings` took `seconds`."""
        if seconds > self._long_s:
            self._shrink(readings)
        elif seconds < self._long_s / 4 and readings * 2 > self.readings:
            self.readings = min(self._most, self.readings * 2)

    def failed(self, readings: int, seconds: float) -> None:
        """A batch of `readings` did not arrive within `seconds`."""
        if seconds > self._long_s:
            self._shrink(readings)

    def too_large(self, readings: int) -> None:
        """The receiver takes no batch of that many readings, on no link."""
        self._most = max(1, min(self._most, readings // 2))
        self.readings = min(self.readings, self._most)

    def _shrink(self, readings: int) -> None:
        self.readings = max(min(_FEWEST, self._most), min(self.readings, readings) // 2)
