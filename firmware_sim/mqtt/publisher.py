"""A meter that publishes: its dialect, its schedules, its faults."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from firmware_sim.dialects.dialect import Dialect, Message
from firmware_sim.faults.faults import Faults
from firmware_sim.meter import Meter

Compose = Callable[[Meter, int], Sequence[Message]]
_SILENT = (Dialect.on_connect, Dialect.on_disconnect)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`compose` is asked for every t_us = n * `interval_us` + `offset_us`, `delay_us` after it.

    The delays spread the meters of an endpoint over the interval; the payload's clock does not show them.
    """

    compose: Compose
    interval_us: int
    offset_us: int = 0
    delay_us: int = 0

    def after(self, t_us: int) -> int:
        """The first scheduled instant after `t_us`."""
        return ((t_us - self.offset_us) // self.interval_us + 1) * self.interval_us + self.offset_us


class Publisher:
    """A meter with its `dialect`; `schedules` are when it says something of its own accord."""

    def __init__(self, *, meter: Meter, dialect: Dialect, schedules: Sequence[Schedule], faults: Faults) -> None:
        self.meter, self.dialect, self.schedules, self.faults = meter, dialect, schedules, faults
        faults.befall(meter)

    def messages(self, compose: Compose, t_us: int) -> list[Message]:
        """What goes to the broker of the instant `t_us`, as the faults of that instant make it.

        A copy of a message has no values: it tells nothing that was not told.
        """
        if getattr(compose, "__func__", None) in _SILENT:
            # Nothing is said, so nothing uses up a fault that hits one message.
            return []
        hits = {fault.kind for fault in self.faults.begin(t_us)} if self.faults else set()
        if "mute" in hits:
            return []
        self.meter.clock_error_us = self.faults.clock_error_us(t_us)
        messages = compose(self.meter, t_us + self.meter.clock_error_us)
        if "retained" in hits:
            messages = [replace(message, retain=True) for message in messages]
        if "duplicate" in hits:
            messages = [copy for message in messages for copy in (message, replace(message, values={}, channels={}))]
        return list(messages)
