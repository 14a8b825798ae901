"""How many batches may be under way: the receiver's memory is bounded by it, and no gateway can take it all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cloud.ingest.errors import TooManyRequests, Unavailable


class Admission:
    """Counts batches from the first byte of the body to the answer. Refuses at once instead of queueing."""

    def __init__(self, *, in_flight: int, per_gateway: int) -> None:
        if not 1 <= per_gateway <= in_flight:
            raise ValueError(f"per_gateway={per_gateway} must lie between 1 and in_flight={in_flight}")
        self._limit, self._per_gateway = in_flight, per_gateway
        self._by_gateway: Counter[int] = Counter()
        self._total = 0

    @property
    def in_flight(self) -> int:
        return self._total

    @contextmanager
    def of(self, gateway_id: int) -> Iterator[None]:
        """A place for one batch. Raises TooManyRequests or Unavailable, both with a time to come again."""
        if self._by_gateway[gateway_id] >= self._per_gateway:
            raise TooManyRequests(f"{self._per_gateway} batches of this gateway are under way", retry_after_s=1)
        if self._total >= self._limit:
            raise Unavailable(f"{self._limit} batches are under way", retry_after_s=1)
        self._total += 1
        self._by_gateway[gateway_id] += 1
        try:
            yield
        finally:
            self._total -= 1
            self._by_gateway[gateway_id] -= 1
            if not self._by_gateway[gateway_id]:
                del self._by_gateway[gateway_id]
