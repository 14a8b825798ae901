"""Which part of a topic names the device: what each family of devices puts where."""

from functools import cache
from re import Pattern

from edge.profiles import catalog
from edge.profiles.payload.topic import compiled

# Tried in this order. A family of which no pattern fits is named by the whole topic.
_PATTERNS: dict[str, tuple[str, ...]] = {
    "tasmota": ("#/{device}/tele/+", "#/{device}/stat/+", "#/{device}/+"),
    "shelly-gen1": tuple(
        f"#/{{device}}/{rest}" for rest in ("emeter/#", "relay/#", "roller/#", "light/#", "info", "status", "online")
    ),
    "shelly-gen2": tuple(f"#/{{device}}/{rest}" for rest in ("events/rpc", "status/+", "online", "rpc")),
    "zigbee2mqtt": ("#/{device}/availability", "#/{device}/{field}", "#/{device}"),
    "esphome": ("#/{device}/sensor/+/state", "#/{device}/status"),
    "dsmr": ("{device}/#",),
    "sparkplug-b": ("spBv1.0/+/+/+/{device}", "spBv1.0/+/+/{device}"),
}
_MESSAGES_OF_TASMOTA = ("tele", "stat", "cmnd")


def device_of(profile: str, topic: str) -> str:
    """The device that published on `topic`, as far as its levels tell; else `topic` itself."""
    for pattern in _of(profile):
        match = pattern.fullmatch(topic)
        if match is None or match["device"] in _MESSAGES_OF_TASMOTA:
            continue
        if "field" not in match.groupdict() or match["field"] in _fields(profile):
            return match["device"]
    return topic


def source_of(profile: str, topic: str) -> str:
    """What of `topic` all messages share that have to be decoded together."""
    if profile == "sparkplug-b":
        levels = topic.split("/")
        # An edge node announces its devices, and takes them along when it goes.
        return "/".join([*levels[:2], *levels[3:4]])
    return device_of(profile, topic)


@cache
def _fields(profile: str) -> frozenset[str]:
    """Names of what the family publishes on topics of their own."""
    rows = (row for message in catalog.mqtt(profile).message for row in message.fields)
    return frozenset(path for row in rows for path in row.paths)


@cache
def _of(profile: str) -> tuple[Pattern[str], ...]:
    return tuple(compiled(pattern) for pattern in _PATTERNS.get(profile, ()))
