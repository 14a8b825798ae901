"""Polls of one device that its line was too busy for: neighbours together, told while it lasts and when it is over."""

from dataclasses import dataclass

from contract.notes import NEIGHBOUR_INTERVALS, NEIGHBOUR_S

LONGEST_PART_US = 900_000_000
"""Nothing is held back for longer: what the gateway has not told, nobody knows, and it is gone after a kill -9."""
# The first part is told soon, each further one after as long as it has lasted by then.
_SHORTEST_PART_US = 10_000_000


def apart_us(interval_ms: int) -> int:
    """How far two gaps of a device may be apart and are told as one."""
    return round(max(NEIGHBOUR_S * 1e6, NEIGHBOUR_INTERVALS * interval_ms * 1000))


@dataclass(frozen=True, slots=True)
class Part:
    """So many `polls` were left out from `first_us` to `last_us`, monotonic, between others that were made."""

    first_us: int
    last_us: int
    polls: int


class Stretch:
    """Times are monotonic, and of the readings around what was left out; `first_us` is the one before."""

    def __init__(self, first_us: int) -> None:
        self._first_us = self._from_us = self._last_us = first_us
        self._polls = 0
        self.open_polls = 0
        """So many were left out with no reading behind them yet: what is read next ends their gap."""

    def left_out(self, polls: int, *, until_us: int, read: bool) -> None:
        """`polls` more, up to `until_us`: a reading, or now."""
        self._polls += polls
        self._last_us = max(self._last_us, until_us)
        self.open_polls = 0 if read else self.open_polls + polls

    def part(self, now_us: int, apart_us: int) -> Part | None:
        """What is to be told by now, and then is: after a while, or where neighbours would be `apart_us` off."""
        lasted_us = self._last_us - self._from_us
        enough_us = min(max(_SHORTEST_PART_US, self._from_us - self._first_us), LONGEST_PART_US)
        return self.rest() if lasted_us >= enough_us or self.over(now_us, apart_us) else None

    def rest(self) -> Part | None:
        """All that is not told yet, None where there is nothing."""
        if not self._polls:
            return None
        part = Part(self._from_us, self._last_us, self._polls)
        self._from_us, self._polls = self._last_us + 1, 0
        return part

    def over(self, now_us: int, apart_us: int) -> bool:
        """Whether what is left out from now on begins another."""
        return not self.open_polls and now_us - self._last_us > apart_us
