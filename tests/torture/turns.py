"""Who may do something to which process, one after another."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_LOOK_S = 0.02


class Turns:
    """A line of tickets for each of `lanes`. `wait` waits for so many seconds, and raises when the run is over."""

    def __init__(self, lanes: Iterable[str], *, wait: Callable[[float], None]) -> None:
        self._lanes: dict[str, deque[int]] = {name: deque() for name in lanes}
        self._wait = wait

    def queue(self, ticket: int, *lanes: str) -> None:
        """Line up for these processes, in the order of the calls."""
        for lane in lanes:
            self._lanes[lane].append(ticket)

    @contextmanager
    def alone(self, ticket: int, *lanes: str) -> Iterator[None]:
        """Alone with these processes, once those that lined up before are done."""
        while any(self._lanes[lane][0] != ticket for lane in lanes):
            self._wait(_LOOK_S)
        try:
            yield
        finally:
            for lane in lanes:
                self._lanes[lane].popleft()
