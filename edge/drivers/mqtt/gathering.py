"""One reading from several messages: of devices that publish each of their numbers under a topic of its own."""

import asyncio
from collections.abc import Callable

from edge.drivers.mqtt.delivery import Entry
from edge.profiles.payload.said import Channels, Said


class Gathering:
    """What one device said within `gather_s`, from the first value on. Empty between readings.

    It began at `began_us` of the monotonic clock, as the other may be set before it ends: by its timer, or when a
    quantity comes again, which belongs to the next reading.
    """

    def __init__(self, gather_s: float) -> None:
        self.gather_s = gather_s
        self.entries: list[Entry] = []
        self.began_us = 0
        self._channels: Channels = {}
        self._time_us: int | None = None
        self._skipped: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        return self._timer is not None

    def clashes(self, said: Said) -> bool:
        """Whether `said` begins the next reading: it repeats a quantity, or has a clock that moved on."""
        if None not in (said.time_us, self._time_us) and said.time_us != self._time_us:
            return True
        return any(
            name in self._channels.get(channel, ()) for channel, values in said.channels.items() for name in values
        )

    def add(self, said: Said, entry: Entry | None, now_us: int, close: Callable[[], None]) -> None:
        """Take `said` in at `now_us`, monotonic; the first one starts the timer, which calls `close`."""
        if self._timer is None:
            self.began_us = now_us
            self._timer = asyncio.get_running_loop().call_later(self.gather_s, close)
        for channel, values in said.channels.items():
            self._channels.setdefault(channel, {}).update(values)
        self._time_us = said.time_us if self._time_us is None else self._time_us
        self._skipped += said.skipped
        if entry is not None:
            self.entries.append(entry)

    def end(self) -> tuple[Said, list[Entry]]:
        """All that was gathered, and the messages it came in; the next one begins anew."""
        said, entries = Said(self._channels, self._time_us, self._skipped), self.entries
        self.cancel()
        self._channels, self._time_us, self._skipped, self.entries = {}, None, (), []
        return said, entries

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
