"""Whose message it is: topics to the devices whose filters they match."""

from collections.abc import Sequence

from edge.drivers.mqtt.device import MqttDevice

# Wildcards let a publisher invent topics; what is remembered of them has an end.
_MOST_REMEMBERED = 10_000


class Topics:
    """The filters of a broker's devices. Of two filters that match, the one configured first has the message."""

    def __init__(self, devices: Sequence[MqttDevice]) -> None:
        self.filters = tuple(device.topic for device in devices)
        self._devices = tuple(devices)
        self._exact = {device.topic: device for device in devices}
        self._remembered: dict[str, MqttDevice | None] = {}

    def device(self, topic: str) -> MqttDevice | None:
        if (device := self._exact.get(topic)) is not None:
            return device
        if topic not in self._remembered:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[topic] = next((d for d in self._devices if matches(d.topic, topic)), None)
        return self._remembered[topic]


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a broker sends `topic` to who subscribed to `topic_filter` (4.7 of both versions of MQTT)."""
    wanted, found = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(found) or level not in ("+", found[position]):
            return False
    return len(wanted) == len(found)
