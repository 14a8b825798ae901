"""What was done to whom and when: the only grounds on which a reading may be missing."""

import time
from dataclasses import dataclass, field

_ON_ITS_WAY_US = 100_000
"""Between a meter's note of an answer and the gateway's taking it, on a busy machine."""
_DYING_US = 200_000
"""Requests that were on their way when the gateway died are still answered, to nobody."""
_STALE_US = 500_000
"""Meters that go on after a stop answer what was asked meanwhile, by connections that nobody has any more."""
_POLL_US = 600_000
"""From one answer of a poll to the next, with meters that go on."""
METER_TIMEOUT_US = 3_000_000
"""So long the gateway waits for an answer. What the poll brought until then is a reading only afterwards."""
_UNSAVED_US = 300_000
"""The broker saves at each change, and not before it has confirmed it."""


def now_us() -> int:
    """This machine's clock, which no fault steps."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Span:
    """A time with both ends in it, microseconds since 1970."""

    first_us: int
    last_us: int

    def within(self, from_us: int, until_us: int) -> int:
        """How much of it lies between the two."""
        return max(0, min(self.last_us, until_us) - max(self.first_us, from_us))

    def __contains__(self, at_us: int) -> bool:
        return self.first_us <= at_us <= self.last_us


@dataclass(frozen=True, slots=True)
class Damage:
    """The gateway's buffer was damaged at `at_us`; what was committed before `drained_us` had its receipt by then.

    `destroyed` readings had no receipt, and bytes in a page that was overwritten.
    """

    drained_us: int
    at_us: int
    destroyed: int


@dataclass(slots=True)
class History:
    """`window_s` is the gateway's loss window and what its commit may take besides.

    `deaths` has, by name of the process, from when it was killed until it was seen dead; `stops` from when it was
    stopped until it went on; `begun` when it was started.
    """

    window_s: float
    deaths: dict[str, list[Span]] = field(default_factory=dict)
    stops: dict[str, list[Span]] = field(default_factory=dict)
    begun: dict[str, list[int]] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    faults: list[tuple[Span, str]] = field(default_factory=list)
    """Each from its beginning to its end, in words; for people, and no ground for anything."""

    def began(self, name: str, at_us: int) -> None:
        self.begun.setdefault(name, []).append(at_us)

    def died(self, name: str, killed_us: int, dead_us: int) -> None:
        self.deaths.setdefault(name, []).append(Span(killed_us, dead_us))

    def stopped(self, name: str, from_us: int, until_us: int) -> None:
        self.stops.setdefault(name, []).append(Span(from_us, until_us))

    def near(self, at_us: int) -> list[str]:
        """The faults about `at_us`, for whoever has to find out why a reading is missing."""
        around = 5_000_000
        return [words for span, words in self.faults if span.first_us - around <= at_us <= span.last_us + around]

    def in_loss_window(self, at_us: int, ended_us: int, *, whole: bool) -> bool:
        """Whether an answer noted at `at_us` may have been in memory only when the gateway was killed.

        It is of a poll whose last answer was noted at `ended_us`; `whole` says that this poll lacked none.
        """
        window_us = round(self.window_s * 1e6)
        return any(
            at_us <= death.last_us + _DYING_US and self._had_us(ended_us, death.first_us, whole=whole) <= window_us
            for death in self.deaths.get("edge", [])
        )

    def _had_us(self, ended_us: int, killed_us: int, *, whole: bool) -> int:
        """The time that the gateway had for the commit of a poll, from its last answer on.

        It has none while it is stopped, nor while it waits for the answers that a poll still lacks, since its meter was
        stopped before them.
        """
        stood_us = sum(stop.within(ended_us, killed_us) for stop in self.stops.get("edge", []))
        owed_us = [
            min(stop.within(ended_us, killed_us), METER_TIMEOUT_US)
            for stop in self.stops.get("simulator", [])
            if not whole and stop.first_us <= ended_us + _POLL_US
        ]
        return killed_us - ended_us - stood_us - max(owed_us, default=0)

    def unanswered(self, at_us: int) -> bool:
        """Whether nobody can tell if an answer noted at `at_us` reached the gateway.

        The meters' process was killed or stopped just then, or the gateway's was stopped while it waited for it.
        """
        unclear = [
            (self.deaths.get("simulator", []), _ON_ITS_WAY_US),
            (self.stops.get("simulator", []), _STALE_US),
            (self.stops.get("edge", []), _ON_ITS_WAY_US),
        ]
        return any(
            span.first_us - _ON_ITS_WAY_US <= at_us <= span.last_us + after_us
            for spans, after_us in unclear
            for span in spans
        )

    def meters_died_after(self, at_us: int) -> bool:
        """Whether the meters' process was killed later, with whatever it had not handed over."""
        return any(span.last_us >= at_us for span in self.deaths.get("simulator", []))

    def broker_forgot(self, told_us: int, confirmed_us: int) -> bool:
        """Whether the broker was killed so soon after it had confirmed a message that this was not on its disk yet.

        It was told at `told_us`. That it was confirmed is noted a little later than it was; before the next broker
        began, it was the one that was killed who had confirmed it.
        """
        return any(
            span.first_us - _UNSAVED_US <= confirmed_us <= self._next_began_us("mosquitto", span.last_us)
            and told_us <= span.last_us
            for span in self.deaths.get("mosquitto", [])
        )

    def _next_began_us(self, name: str, after_us: int) -> int:
        return min((at_us for at_us in self.begun.get(name, []) if at_us >= after_us), default=after_us)
