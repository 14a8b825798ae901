"""A device that publishes: what one of its messages says, and which readings that makes."""

from dataclasses import dataclass, field
from datetime import tzinfo

import msgspec

from contract.batch import Flag
from edge.drivers.sink import DeviceState
from edge.errors import PayloadError
from edge.profiles.payload.schema import Decoded, PayloadProfile, decode, device_time_us, plausible_time
from edge.reading import Reading, canonical


class Said(msgspec.Struct, frozen=True):
    """A decoded message. `time_us` is the device's own clock, None where it has none that can be believed."""

    decoded: Decoded
    time_us: int | None


@dataclass(kw_only=True)
class MqttDevice:
    """A publisher. `states` holds one state per meter in it, by device key."""

    id: str
    topic: str
    profile: PayloadProfile
    interval_s: float
    zone: tzinfo
    channels: int = 1
    states: dict[str, DeviceState] = field(init=False, default_factory=dict)
    _newest: dict[str, Reading] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for channel in range(1, self.channels + 1):
            self.state(channel if self.channels > 1 else None)

    def state(self, channel: int | None) -> DeviceState:
        """The state of `channel`, None being the only one or the first."""
        if channel is None and self.channels > 1:
            channel = 1
        key = self.id if channel is None else f"{self.id}/{channel}"
        if key not in self.states:
            self.states[key] = DeviceState(device=key, interval_ms=round(self.interval_s * 1000))
        return self.states[key]

    def decode(self, topic: str, payload: bytes, now_us: int) -> Said:
        """What `payload` says, having arrived at `now_us`. Raises PayloadError, booked as a failure of the device."""
        try:
            decoded = decode(self.profile, topic, payload)
        except PayloadError as error:
            self.state(None).failed(str(error), now_us)
            raise
        clock_us = device_time_us(self.profile, decoded.clock, self.zone, now_us)
        return Said(decoded, clock_us if plausible_time(clock_us, now_us) else None)

    def readings(self, said: Said, now_us: int) -> list[Reading]:
        """One reading per meter that `said` has values of, stamped by the device's clock where it can be."""
        readings = []
        for channel, values in said.decoded.channels.items():
            state = self.state(channel)
            kept, impossible = canonical(values)
            for name in (*impossible, *said.decoded.skipped):
                state.partly_failed(f"{name}: no usable number", now_us)
            if not kept:
                continue
            reading = Reading(state.device, now_us, kept, 0, state.interval_ms)
            if said.time_us is not None and not self._clashes(state.device, said.time_us, kept):
                reading = msgspec.structs.replace(reading, time_us=said.time_us, flags=int(Flag.TIME_FROM_DEVICE))
                self._newest[state.device] = reading
            state.read(now_us)
            readings.append(reading)
        return readings

    def _clashes(self, device: str, time_us: int, values: dict[str, int | float]) -> bool:
        """Whether the device's clock names an instant that other values were given for: clocks of whole seconds do."""
        before = self._newest.get(device)
        if before is None or before.time_us != time_us:
            return False
        return any(before.values.get(name, value) != value for name, value in values.items())
