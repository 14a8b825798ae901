"""When devices were not read, and why: watched from outside, told as notes, so that every gap has its reason."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contract.notes import GAP_INTERVALS, Note, NoteKind
from edge.clock import Clock
from edge.drivers.sink import DeviceState
from edge.overruns import LONGEST_PART_US, Part, Stretch, apart_us
from edge.timekeeping import STEP_US, Timekeeper, correction_us

# Looked at from outside once a second, nothing shorter can be told for certain.
_SHORTEST_US = 1_000_000
_NO_WORD = "no message"
_LEFT_OUT = "polls left out: the line was busy"
_DETAIL_CHARS = 500
# What waits for the time to be known. Of 200 devices that answer now and then, it is that of a day.
_WAITING = 20_000


@dataclass(slots=True)
class _Device:
    """What was last seen of a device. Its silence begins behind `since_us`; it is told up to before `told_us`.

    `before_us` is the reading before that at `since_us`. `stretch` has the polls that are being left out.
    """

    readings: int
    errors: int
    overruns: int
    before_us: int
    since_us: int
    told_us: int
    stretch: Stretch | None = None


@dataclass(frozen=True, slots=True)
class _Untold:
    """Times are monotonic: what the wall clock made of them is only settled when they are told."""

    kind: NoteKind
    device: str
    first_us: int
    last_us: int
    detail: str
    readings: int = 0


class Silences:
    """Tells of each silence at its end, and while it lasts a part each quarter of an hour.

    A gap that polls left out account for is no silence: they are told together with their neighbours (`Stretch`).

    Times of a note are of the gateway's clock as readings are: stamped by it, and corrected once somebody vouches for
    the time. Until then nothing is told. A clock that steps in the middle of a silence makes it neither longer nor
    shorter.
    """

    def __init__(self, *, clock: Clock, timekeeper: Timekeeper) -> None:
        self._clock, self._timekeeper = clock, timekeeper
        self._started_us = self._looked_us = clock.boottime_us()
        self._offset_us = timekeeper.look().offset_us
        self._devices: dict[str, _Device] = {}
        self._waiting: deque[_Untold] = deque()
        self._lost = 0
        self._newest_us: int | None = None

    def not_running_since(self, newest_us: int | None) -> None:
        """Note that the gateway was not running from `newest_us`, its newest reading before this start, until then."""
        self._newest_us = newest_us

    def lost(self) -> int:
        """How many silences there was no room for since the last call: they will not be told."""
        lost, self._lost = self._lost, 0
        return lost

    def look(self, devices: Sequence[DeviceState]) -> list[Note]:
        """Notes of what has become known since the last look; to be called about once a second."""
        now_us = self._clock.boottime_us()
        for state in devices:
            known = self._devices.get(state.device)
            if known is None:
                known = self._devices[state.device] = _unseen(self._started_us)
            read = state.readings != known.readings
            if read:
                self._read(state, known, now_us)
            elif now_us - known.told_us >= LONGEST_PART_US and _is_long(now_us - known.since_us, state):
                self._tell(state, known, now_us)
            if known.stretch is not None or state.overruns != known.overruns:
                self._overrun(state, known, now_us, read)
        self._looked_us, self._offset_us = now_us, self._timekeeper.look().offset_us
        return [] if self._timekeeper.true_offset_us() is None else self._notes()

    def end(self, devices: Sequence[DeviceState]) -> list[Note]:
        """At the stop: what is left, what still lasts among it. The gateway's own clock must do where nobody
        vouches."""
        now_us = self._clock.boottime_us()
        notes = self.look(devices)
        for state in devices:
            known = self._devices[state.device]
            if known.since_us < now_us and _is_long(now_us - known.since_us, state):
                self._tell(state, known, now_us)
            if known.stretch is not None:
                self._tell_overrun(state, known.stretch.rest())
        return notes + self._notes()

    def _read(self, state: DeviceState, known: _Device, now_us: int) -> None:
        """`state` has readings that were not there at the last look."""
        newest_us = self._moment_of(state.last_reading_us, now_us)
        interval_us = state.interval_ms * 1000
        # Of several since the last look only the newest has a time; the first of them ended the silence.
        first_us = max(known.since_us, self._looked_us, newest_us - (state.readings - known.readings - 1) * interval_us)
        first_us = min(first_us, newest_us)
        silent_us = first_us - known.since_us
        if known.told_us > known.since_us or (_is_long(silent_us, state) and not _left_out(silent_us, state, known)):
            self._tell(state, known, first_us)
        known.readings, known.errors = state.readings, state.errors
        known.before_us, known.since_us, known.told_us = known.since_us, newest_us, newest_us

    def _overrun(self, state: DeviceState, known: _Device, now_us: int, read: bool) -> None:
        """Polls were left out, or have been lately. Those of a poll that was made were due before its reading."""
        polls, stretch = state.overruns - known.overruns, known.stretch
        known.overruns = state.overruns
        if polls and stretch is None:
            stretch = known.stretch = Stretch(known.before_us)
        if stretch is None:
            return
        if polls or (read and stretch.open_polls):
            stretch.left_out(polls, until_us=known.since_us if read else now_us, read=read)
        apart = apart_us(state.interval_ms)
        self._tell_overrun(state, stretch.part(now_us, apart))
        if stretch.over(now_us, apart):
            known.stretch = None

    def _moment_of(self, wall_us: int | None, now_us: int) -> int:
        """The monotonic time of a reading since the last look; of now, where a step of the clock came between."""
        if wall_us is None:
            return now_us
        for offset_us in (self._offset_us, self._timekeeper.look().offset_us):
            if self._looked_us - STEP_US <= wall_us - offset_us <= now_us + STEP_US:
                return wall_us - offset_us
        return now_us

    def _tell(self, state: DeviceState, known: _Device, until_us: int) -> None:
        """A part up to `until_us`. The first and the last moment of a silence are those of the readings around it."""
        if until_us < known.told_us:
            return
        detail = _why(state, known)[:_DETAIL_CHARS]
        self._wait(_Untold(NoteKind.SILENT, state.device, known.told_us, until_us, detail))
        known.told_us = until_us + 1

    def _tell_overrun(self, state: DeviceState, part: Part | None) -> None:
        if part is not None:
            span = part.first_us, part.last_us
            self._wait(_Untold(NoteKind.OVERRUN, state.device, *span, _LEFT_OUT, part.polls))

    def _wait(self, untold: _Untold) -> None:
        self._waiting.append(untold)
        if len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self._lost += 1

    def _notes(self) -> list[Note]:
        notes = list(self._told())
        self._waiting.clear()
        self._newest_us = None
        return notes

    def _told(self) -> Iterator[Note]:
        offset_us = self._timekeeper.look().offset_us
        offset_us += correction_us(offset_us, self._timekeeper.true_offset_us())
        started_us = self._started_us + offset_us
        if self._newest_us is not None and self._newest_us < started_us:
            yield Note(kind=NoteKind.NOT_RUNNING, first_us=self._newest_us, last_us=started_us)
        for untold in self._waiting:
            yield Note(
                kind=untold.kind,
                device=untold.device,
                first_us=untold.first_us + offset_us,
                last_us=untold.last_us + offset_us,
                readings=untold.readings,
                detail=untold.detail,
            )


def _unseen(started_us: int) -> _Device:
    return _Device(0, 0, 0, before_us=started_us, since_us=started_us, told_us=started_us)


def _why(state: DeviceState, known: _Device) -> str:
    if state.errors > known.errors and state.last_error:
        return state.last_error
    return _NO_WORD


def _left_out(silent_us: int, state: DeviceState, known: _Device) -> bool:
    """Whether polls that the line had no time for are all that lacks."""
    polls = state.overruns - known.overruns + (known.stretch.open_polls if known.stretch else 0)
    return polls > 0 and polls >= silent_us // (state.interval_ms * 1000) - 1


def _is_long(silent_us: int, state: DeviceState) -> bool:
    return silent_us > max(GAP_INTERVALS * state.interval_ms * 1000, _SHORTEST_US)
