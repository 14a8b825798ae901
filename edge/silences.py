"""When devices were not read: watched from outside, told as notes, so that every gap has its reason."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contract.notes import GAP_INTERVALS, Note, NoteKind
from edge.clock import Clock
from edge.drivers.sink import DeviceState
from edge.timekeeping import STEP_US, Timekeeper, correction_us

_LONGEST_PART_US = 900_000_000
# Looked at from outside once a second, nothing shorter can be told for certain.
_SHORTEST_US = 1_000_000
_NO_WORD = "no message"
_LEFT_OUT = "polls left out: the line was busy"
_DETAIL_CHARS = 500
# What waits for the time to be known. Of 200 devices that answer now and then, it is that of a day.
_WAITING = 20_000


@dataclass(slots=True)
class _Device:
    """What was last seen of a device. Its silence begins behind `since_us`; it is told up to before `told_us`."""

    readings: int
    errors: int
    overruns: int
    since_us: int
    told_us: int


@dataclass(frozen=True, slots=True)
class _Silence:
    """Times are monotonic: what the wall clock made of them is only settled when they are told."""

    device: str
    first_us: int
    last_us: int
    detail: str


class Silences:
    """Tells of each silence at its end, and while it lasts a part each quarter of an hour.

    Times of a note are of the gateway's clock as readings are: stamped by it, and corrected once somebody vouches for
    the time. Until then nothing is told. A clock that steps in the middle of a silence makes it neither longer nor
    shorter.
    """

    def __init__(self, *, clock: Clock, timekeeper: Timekeeper) -> None:
        self._clock, self._timekeeper = clock, timekeeper
        self._started_us = self._looked_us = clock.boottime_us()
        self._offset_us = timekeeper.look().offset_us
        self._devices: dict[str, _Device] = {}
        self._waiting: deque[_Silence] = deque()
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
                known = self._devices[state.device] = _Device(0, 0, 0, self._started_us, self._started_us)
            if state.readings != known.readings:
                self._read(state, known, now_us)
            elif now_us - known.told_us >= _LONGEST_PART_US and _is_long(now_us - known.since_us, state):
                self._tell(state, known, now_us)
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
        return notes + self._notes()

    def _read(self, state: DeviceState, known: _Device, now_us: int) -> None:
        """`state` has readings that were not there at the last look."""
        newest_us = self._moment_of(state.last_reading_us, now_us)
        interval_us = state.interval_ms * 1000
        # Of several since the last look only the newest has a time; the first of them ended the silence.
        first_us = max(known.since_us, self._looked_us, newest_us - (state.readings - known.readings - 1) * interval_us)
        first_us = min(first_us, newest_us)
        if known.told_us > known.since_us or _is_long(first_us - known.since_us, state):
            self._tell(state, known, first_us)
        known.readings, known.errors, known.overruns = state.readings, state.errors, state.overruns
        known.since_us = known.told_us = newest_us

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
        silence = _Silence(state.device, known.told_us, until_us, _why(state, known)[:_DETAIL_CHARS])
        self._waiting.append(silence)
        if len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self._lost += 1
        known.told_us = until_us + 1

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
        for silence in self._waiting:
            yield Note(
                kind=NoteKind.SILENT,
                device=silence.device,
                first_us=silence.first_us + offset_us,
                last_us=silence.last_us + offset_us,
                detail=silence.detail,
            )


def _why(state: DeviceState, known: _Device) -> str:
    if state.errors > known.errors and state.last_error:
        return state.last_error
    return _LEFT_OUT if state.overruns > known.overruns else _NO_WORD


def _is_long(silent_us: int, state: DeviceState) -> bool:
    return silent_us > max(GAP_INTERVALS * state.interval_ms * 1000, _SHORTEST_US)
