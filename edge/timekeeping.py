"""Which wall clock may be believed: epochs between steps, the kernel's word, and the receiver's clock.

A reading's monotonic time is its time less the offset of the epoch in which it was read. With the true offset of its
boot, once somebody vouches for one, that gives its true time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock

STEP_US = 500_000
"""A difference above this is a step of the clock, and worth a correction; one below is neither."""
APART_US = 30_000_000
"""So far may the gateway's clock and the receiver's differ before one of them counts as wrong."""
# The years 2025 to 2100. A receiver that names another has no clock, or a header that means something else.
_FIRST_US, _LAST_US = 1_735_689_600_000_000, 4_102_444_800_000_000
# Two quartz clocks part no faster: an answer that came slowly gives way to one that is this much better by now.
_DRIFT_PPM = 200


def correction_us(offset_us: int, true_us: int | None) -> int:
    """What is to be added to times of a clock that was `offset_us` ahead of the monotonic one.

    `true_us` is by how much it should have been, None where nobody knows. What is no step is not set right.
    """
    return 0 if true_us is None or abs(true_us - offset_us) <= STEP_US else true_us - offset_us


@dataclass(frozen=True, slots=True)
class Epoch:
    """A time without a step: `offset_us` is what the wall clock showed less the monotonic clock, at its beginning."""

    number: int
    offset_us: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """The receiver's clock less the monotonic one, `error_us` at most beside it, as of `at_us` monotonic."""

    offset_us: int
    error_us: int
    at_us: int


class Timekeeper:
    """Looks at the clocks of one boot. Monotonic is `Clock.boottime_us`: sleep counts, and nobody sets it."""

    def __init__(self, *, clock: Clock, boot_id: str, synchronized: Callable[[], bool]) -> None:
        self.boot_id = boot_id
        self._clock, self._synchronized = clock, synchronized
        self._seen_us = self._clock.offset_us()
        # What was slewed since the first look. Time services do that all day; added up, it must not look like a step.
        self._slewed_us = 0
        self._epoch = Epoch(1, self._seen_us)
        self._heard: _Heard | None = None
        self._true_us: int | None = None

    @property
    def synchronized(self) -> bool:
        """The kernel's word that a time service disciplines the clock."""
        return self._synchronized()

    def look(self) -> Epoch:
        """The epoch now; a new one where the clock was stepped since the last look."""
        seen_us = self._clock.offset_us()
        moved_us = seen_us - self._seen_us
        self._seen_us = seen_us
        if abs(moved_us) > STEP_US:
            self._epoch = Epoch(self._epoch.number + 1, seen_us - self._slewed_us)
        else:
            self._slewed_us += moved_us
        return self._epoch

    def epoch_offset_us(self, seen_us: int) -> int:
        """The offset of the epoch in which the wall clock was seen `seen_us` ahead of the monotonic one.

        It may have ended meanwhile: whoever took a time from a clock was not waited for when that was set.
        """
        epoch = self.look()
        return epoch.offset_us if abs(seen_us - self._seen_us) <= STEP_US else seen_us - self._slewed_us

    def heard(self, receiver_us: int, *, asked_s: float, answered_s: float, resolution_us: int) -> None:
        """Take the receiver's clock `receiver_us`, cut off to `resolution_us`, that was asked for and answered then.

        Times are of `Clock.monotonic_s`. The best answer stays until a better one comes, or one that contradicts it.
        A time that no receiver can have is passed over.
        """
        if not _FIRST_US <= receiver_us <= _LAST_US:
            return
        now_us = self._clock.boottime_us()
        since_us = round((self._clock.monotonic_s() - (asked_s + answered_s) / 2) * 1e6)
        error_us = round((answered_s - asked_s) * 1e6 / 2) + resolution_us // 2
        fresh = _Heard(receiver_us + resolution_us // 2 - (now_us - since_us), error_us, now_us)
        known = self._heard
        if known is not None:
            aged_us = known.error_us + (now_us - known.at_us) * _DRIFT_PPM // 1_000_000
            if fresh.error_us > aged_us and abs(fresh.offset_us - known.offset_us) <= fresh.error_us + aged_us:
                return
        self._heard = fresh

    @property
    def offset_s(self) -> float | None:
        """How far the gateway's clock is ahead of the receiver's; None before the first answer."""
        return None if self._heard is None else (self._clock.offset_us() - self._heard.offset_us) / 1e6

    def true_offset_us(self) -> int | None:
        """The wall clock less the monotonic one, as best known; None while nobody vouches for any.

        The gateway's own clock where the kernel calls it synchronized or the receiver agrees, else the receiver's.
        Whoever vouched is believed until somebody knows better by more than a step: a clock that is set by hand while
        nobody vouches for it changes nothing, and what is near enough is not corrected again and again.
        """
        own_us, heard = self.look().offset_us, self._heard
        best_us = self._true_us
        if self._synchronized():
            best_us = own_us
        elif heard is not None:
            ahead_us = self._seen_us - heard.offset_us
            best_us = own_us if abs(ahead_us) <= APART_US + heard.error_us else own_us - ahead_us
        if best_us is not None and (self._true_us is None or abs(best_us - self._true_us) > STEP_US):
            self._true_us = best_us
        return self._true_us
