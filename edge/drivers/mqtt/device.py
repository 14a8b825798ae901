"""A device that publishes: what one of its messages says, and which readings that makes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo

from contract.batch import Flag
from edge.drivers.mqtt.gathering import Gathering
from edge.drivers.sink import DeviceState
from edge.errors import PayloadError
from edge.profiles.payload.decode import PayloadDecoder
from edge.profiles.payload.said import Said
from edge.profiles.payload.schema import PayloadProfile
from edge.profiles.payload.settings import DeviceFields
from edge.reading import Reading, canonical

# Messages that a broker hands over at once are of one moment to the gateway. A clock that went back is no such thing.
_BURST_US = 100_000


@dataclass(kw_only=True)
class MqttDevice:
    """A publisher. `states` holds one state per meter in it, by device key."""

    id: str
    topic: str
    profile: PayloadProfile
    interval_s: float
    zone: tzinfo
    channels: int = 1
    fields: DeviceFields | None = None
    states: dict[str, DeviceState] = field(init=False, default_factory=dict)
    gathering: Gathering = field(init=False)
    _decoder: PayloadDecoder = field(init=False)
    _newest: dict[str, Reading] = field(init=False, default_factory=dict)
    _stamped_us: dict[str, int] = field(init=False, default_factory=dict)
    _by_channel: dict[int | None, DeviceState] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._decoder = PayloadDecoder(self.profile, self.zone, self.fields, self.topic)
        self.gathering = Gathering(self.profile.gather_ms / 1000)
        for channel in range(1, self.channels + 1):
            self.state(channel if self.channels > 1 else None)

    def state(self, channel: int | None) -> DeviceState:
        """The state of `channel`, None being the only one or the first."""
        if (known := self._by_channel.get(channel)) is not None:
            return known
        number = 1 if channel is None and self.channels > 1 else channel
        key = self.id if number is None else f"{self.id}/{number}"
        if key not in self.states:
            self.states[key] = DeviceState(device=key, interval_ms=round(self.interval_s * 1000))
        self._by_channel[channel] = self.states[key]
        return self.states[key]

    def decode(self, topic: str, payload: bytes, now_us: int) -> Said:
        """What `payload` says, having arrived at `now_us`. Raises PayloadError, booked as a failure of the device."""
        try:
            said = self._decoder.decode(topic, payload, now_us)
        except PayloadError as error:
            self.failed(str(error), now_us)
            raise
        if said.offline:
            for state in self.states.values():
                state.gone(now_us)
        return said

    def failed(self, reason: str, now_us: int) -> None:
        self.state(None).failed(reason, now_us)

    def readings(self, said: Said, now_us: int) -> list[Reading]:
        """One reading per meter that `said` has values of, stamped by the device's clock where it can be."""
        readings = [reading for before in said.earlier if before.time_us for reading in self._of(before, now_us)]
        readings += self._of(said, now_us)
        return readings

    def _of(self, said: Said, now_us: int) -> Iterator[Reading]:
        time_us = said.time_us
        for channel, values in said.channels.items():
            state = self._by_channel.get(channel) or self.state(channel)
            kept, impossible = canonical(values)
            for name in impossible:
                state.partly_failed(f"{name}: no usable number", now_us)
            for what in said.skipped:
                state.partly_failed(what, now_us)
            if not kept:
                continue
            if time_us is not None and not self._clashes(state.device, time_us, kept):
                reading = Reading(state.device, time_us, kept, int(Flag.TIME_FROM_DEVICE), state.interval_ms)
                self._newest[state.device] = reading
            else:
                reading = Reading(state.device, self._moment(state.device, now_us), kept, 0, state.interval_ms)
            state.read(now_us)
            yield reading

    def _moment(self, device: str, now_us: int) -> int:
        """`now_us`, and a little later for each message of `device` that came in the same read of the socket."""
        before_us = self._stamped_us.get(device)
        if before_us is not None and 0 <= before_us - now_us < _BURST_US:
            now_us = before_us + 1
        self._stamped_us[device] = now_us
        return now_us

    def _clashes(self, device: str, time_us: int, values: dict[str, int | float]) -> bool:
        """Whether the device's clock names an instant that other values were given for: clocks of whole seconds do."""
        before = self._newest.get(device)
        if before is None or before.time_us != time_us:
            return False
        return any(before.values.get(name, value) != value for name, value in values.items())
