"""How many batches may be under way: the receiver's memory is bounded by it, and no gateway can take it all."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from cloud.ingest.errors import TooManyRequests, Unavailable

_LONGEST_WAIT_S = 30
# Of the last few commits each counts a fifth of the one after it.
_NEWEST = 0.2
# Of the places, with each commit while they are slow, and while they are not.
_SHRINK, _GROW = 0.9, 1 / 16


class Place:
    """One batch's place. `hold` says how many bytes it has grown to, `committing` when it goes to the database."""

    def __init__(self, admission: "Admission") -> None:
        self._admission, self._bytes = admission, 0

    def hold(self, size_bytes: int) -> None:
        """Count `size_bytes` as held until the place is left. Raises Unavailable where all hold too much together."""
        self._admission.grow(size_bytes)
        self._bytes += size_bytes

    @asynccontextmanager
    async def committing(self, *, late: bool) -> AsyncIterator[None]:
        """The time until the commit, which is measured, and however the commit ends.

        Late batches wait for one another, so that they take neither all of the database's connections nor, with how
        slow they are, the places of live ones. Raises Unavailable where too many wait already.
        """
        if late:
            async with self._admission.late():
                yield
            return
        with self._admission.measured():
            yield

    def leave(self) -> None:
        self._admission.grow(-self._bytes)


class Admission:
    """Counts batches from the first byte of the body to the answer. Refuses at once instead of queueing.

    `hold_bytes` bounds what all decompressed bodies and what is made of them take together. While commits take longer
    than `slow_s` as a rule, the places become fewer with each, down to a quarter, and as many again once they do not:
    who waits for a slow database longer than it takes to come again waits in vain. Of late batches `late_at_once`
    commit at the same time, and a quarter of the places is theirs at most.
    """

    def __init__(
        self,
        *,
        in_flight: int,
        per_gateway: int,
        hold_bytes: int = 192 * 2**20,
        slow_s: float = 2.0,
        late_at_once: int = 2,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= per_gateway <= in_flight:
            raise ValueError(f"per_gateway={per_gateway} must lie between 1 and in_flight={in_flight}")
        self._limit, self._per_gateway, self._hold_bytes, self._slow_s = in_flight, per_gateway, hold_bytes, slow_s
        self._by_gateway: Counter[int] = Counter()
        self._total = self._held_bytes = self._turned_away = self._late = 0
        self._commit_s, self._window, self._clock_s = 0.0, float(in_flight), clock_s
        self._late_turn = asyncio.Semaphore(late_at_once)

    @property
    def in_flight(self) -> int:
        return self._total

    @property
    def places(self) -> int:
        """How many batches may be under way now."""
        return int(self._window)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """A commit, or the attempt at one."""
        begun_s = self._clock_s()
        try:
            yield
        finally:
            self.took(self._clock_s() - begun_s)

    def took(self, commit_s: float) -> None:
        """A commit, or the attempt at one, took so long."""
        self._commit_s += _NEWEST * (commit_s - self._commit_s)
        if self._commit_s > self._slow_s:
            # Fewer than a quarter leave connections to the database idle, and make no commit any faster.
            self._window = max(1.0, self._limit // 4, self._window * _SHRINK)
        else:
            self._window = min(float(self._limit), self._window + self._limit * _GROW)

    @asynccontextmanager
    async def late(self) -> AsyncIterator[None]:
        """One of the few late batches that commit at the same time. Raises Unavailable where many wait for it."""
        if self._late >= max(1, self._limit // 4):
            raise self.turn_away(f"{self._late} batches of late readings are under way", least_s=2)
        self._late += 1
        try:
            async with self._late_turn:
                yield
        finally:
            self._late -= 1

    def credit(self, gateway_id: int) -> int:
        """How many batches of backlog the gateway may have under way: its share of the places that are free.

        A quarter of all places is left to live batches, and one of the gateway's own; while commits are slow there is
        that much less to share.
        """
        free = self.places - self._total - self._limit // 4
        sharing = len(self._by_gateway) + (gateway_id not in self._by_gateway)
        return max(0, min(self._per_gateway - 1, free // sharing))

    def retry_after_s(self, least_s: int) -> int:
        """When to come again: the later the more were turned away of late, and not all at the same second."""
        more_s = min(_LONGEST_WAIT_S, self._turned_away // self._limit + int(2 * self._commit_s))
        return random.randint(least_s, least_s + more_s)

    @contextmanager
    def of(self, gateway_id: int) -> Iterator[Place]:
        """A place for one batch. Raises TooManyRequests or Unavailable, both with a time to come again."""
        if self._by_gateway[gateway_id] >= self._per_gateway:
            raise TooManyRequests(
                f"{self._per_gateway} batches of this gateway are under way", retry_after_s=self.retry_after_s(1)
            )
        if self._total >= self.places:
            raise self.turn_away(f"{self._total} batches are under way", least_s=1)
        self._turned_away = max(0, self._turned_away - 1)
        self._total += 1
        self._by_gateway[gateway_id] += 1
        place = Place(self)
        try:
            yield place
        finally:
            place.leave()
            self._total -= 1
            self._by_gateway[gateway_id] -= 1
            if not self._by_gateway[gateway_id]:
                del self._by_gateway[gateway_id]

    def turn_away(self, why: str, *, least_s: int) -> Unavailable:
        """The refusal of a batch that found no room, to be raised."""
        self._turned_away += 1
        return Unavailable(why, retry_after_s=self.retry_after_s(least_s))

    def grow(self, by_bytes: int) -> None:
        """`Place` counts here."""
        if by_bytes > 0 and self._held_bytes and self._held_bytes + by_bytes > self._hold_bytes:
            raise self.turn_away(f"batches of {self._held_bytes} bytes are under way", least_s=1)
        self._held_bytes += by_bytes
