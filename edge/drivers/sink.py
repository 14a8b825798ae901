"""Where drivers put readings, and where they say how their devices are doing."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from edge.frames import Frame
from edge.reading import Delivery, Reading


class Sink(Protocol):
    """A place that keeps readings."""

    def put(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int,
        deliveries: Sequence[Delivery] = (),
        frames: Sequence[Frame] = (),
    ) -> asyncio.Future[None]:
        """Take `readings`, which came in `deliveries` and `frames`, to be committed together.

        `offset_us` is `Clock.offset_us` of the clock that they are stamped by, which may have been set meanwhile.
        The future is done once they are committed, and cancelled if they never will be.
        """

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        """Keep a message that could not be decoded. The future is that of `put`."""

    def committed(self, delivery: Delivery) -> bool:
        """Whether that delivery's content is committed already, so that its repetition says nothing new."""

    def hurry(self) -> None:
        """Commit what waits as soon as possible: a publisher sends nothing more before that."""


class DeviceState(msgspec.Struct):
    """What a driver knows of one device. `readings` counts what was polled or received since the daemon started.

    `overruns` are polls that were left out because the bus was still busy, and `last_overrun_us` is when the newest was
    known to be; `set_aside` names registers that the device refuses, such as 4:0x0034.

    `offline` is the device's own word, or its publisher's, that it is gone; the next reading ends it.
    """

    device: str
    interval_ms: int
    readings: int = 0
    errors: int = 0
    failures_in_a_row: int = 0
    last_reading_us: int | None = None
    last_error: str | None = None
    last_error_us: int | None = None
    overruns: int = 0
    last_overrun_us: int | None = None
    set_aside: tuple[str, ...] = ()
    offline: bool = False

    def read(self, now_us: int) -> None:
        self.readings += 1
        self.failures_in_a_row = 0
        self.last_reading_us = now_us
        self.offline = False

    def left_out(self, overruns: int, now_us: int) -> None:
        """`overruns` is how many there have been by now."""
        if overruns != self.overruns:
            self.overruns, self.last_overrun_us = overruns, now_us

    def gone(self, now_us: int) -> None:
        """Booked as an error when it begins, so that it shows until the next reading."""
        if not self.offline:
            self.partly_failed("offline: it says so itself", now_us)
        self.offline = True

    def partly_failed(self, reason: str, now_us: int) -> None:
        self.errors += 1
        self.last_error, self.last_error_us = reason, now_us

    def failed(self, reason: str, now_us: int) -> None:
        self.partly_failed(reason, now_us)
        self.failures_in_a_row += 1
