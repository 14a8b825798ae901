"""What one message said of the meters behind its topic."""

from typing import TypeAlias

import msgspec

Channels: TypeAlias = dict[int | None, dict[str, float]]


class Said(msgspec.Struct, frozen=True):
    """A decoded message.

    `channels` maps a meter to its quantities, in their units and not yet rounded: None is the device's only or first
    meter, the others count from 1. `time_us` is the device's own clock, None where it has none that can be believed.
    `skipped` says of each field that held no usable number what was there. A `partial` message brings one value of
    several that belong together. `offline` is a device's word that it is gone; `needs_rebirth` that its publisher has
    to be asked for what it announced before. `earlier` are the same meters at times before, oldest first. `ignored`
    marks a message that is none of a meter's.
    """

    channels: Channels
    time_us: int | None = None
    skipped: tuple[str, ...] = ()
    partial: bool = False
    offline: bool = False
    needs_rebirth: bool = False
    earlier: tuple["Said", ...] = ()
    ignored: bool = False


NOTHING = Said({}, ignored=True)
OFFLINE = Said({}, offline=True)
