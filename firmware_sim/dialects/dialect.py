"""What a kind of MQTT meter is to the engine: what it says, when, and with which will."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from firmware_sim.meter import Meter

Number = int | float


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `values` are the quantities that it carries, canonical names and units, exactly as printed.

    A device with several meters in it says in `channels` what each of them has, by its number from 1 on, instead of
    `values`. `device_time_us` is the time that the payload states, None where it states none. A message without
    either (a birth, a state, a will) goes into no journal.
    """

    topic: str
    payload: bytes
    device_time_us: int | None = None
    values: dict[str, Number] = field(default_factory=dict)
    channels: dict[int, dict[str, Number]] = field(default_factory=dict)
    qos: int = 1
    retain: bool = False


class Dialect:
    """One object per meter, so that it may count and remember. Subclasses say what differs from the defaults here.

    All times are of the device's own clock, microseconds since 1970 UTC, and may be wrong by injected fault: ask
    `meter.at` with the time that was given, never with another clock. `clock_us` is the resolution of the payload's
    clock; the engine gives multiples of it alone. `own_connection` is for dialects with a will: a broker knows one will
    per connection, and without it all meters of a broker share one.
    """

    clock_us: ClassVar[int] = 1_000
    phases: ClassVar[Literal[1, 3]] = 3
    exports: ClassVar[bool] = True
    """Whether it has an export register; without one a fleet may not give it photovoltaics."""
    energy_apart: ClassVar[bool] = False
    """Whether the registers go in messages of their own, by `energy_messages` and at another interval."""
    own_connection: ClassVar[bool] = False

    def messages(self, meter: Meter, t_us: int) -> Sequence[Message]:
        """What is published at `t_us`, every interval."""
        raise NotImplementedError

    def energy_messages(self, meter: Meter, t_us: int) -> Sequence[Message]:
        """What is published at `t_us`, every energy interval, if `energy_apart`."""
        return ()

    def on_connect(self, meter: Meter, t_us: int) -> Sequence[Message]:
        """What is published first on every new connection."""
        return ()

    def on_disconnect(self, meter: Meter, t_us: int) -> Sequence[Message]:
        """What is published before a clean disconnect."""
        return ()

    def will(self, meter: Meter, t_us: int) -> Message | None:
        """What the broker publishes when the connection breaks; asked for before every connection attempt."""
        return None

    def subscriptions(self, meter: Meter) -> Sequence[str]:
        """Topic filters of what the meter obeys."""
        return ()

    def on_message(self, meter: Meter, topic: str, payload: bytes, t_us: int) -> Sequence[Message]:
        """What is published in answer to a message of `subscriptions`."""
        return ()
