"""The decoder of one device: it finds the message that a topic carries, and reads it."""

import re
from collections.abc import Mapping
from datetime import tzinfo
from typing import Protocol

from edge.profiles.payload.clock import BEHIND_US
from edge.profiles.payload.documents import DocumentReader
from edge.profiles.payload.said import NOTHING, OFFLINE, Said
from edge.profiles.payload.schema import Message, PayloadProfile
from edge.profiles.payload.settings import DeviceFields
from edge.profiles.payload.single import NumberReader
from edge.profiles.payload.sparkplug import SparkplugReader
from edge.profiles.payload.topic import compiled

# A device has tens of topics. Whoever publishes under ever new ones shall not fill the memory.
_MAX_ROUTES, _MAX_TOPIC = 1024, 1000
_WORD = re.compile(rb"[a-z]+")


class _Reader(Protocol):
    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said: ...


class _Ignored:
    """A topic that says nothing of a meter."""

    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said:
        return NOTHING


class _Availability:
    """A topic on which the device, or its will, says whether it is there: a word, bare or inside an object."""

    def __init__(self, offline: str) -> None:
        self._offline = offline.lower().encode()

    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said:
        return OFFLINE if self._offline in _WORD.findall(payload[:200].lower()) else NOTHING


def _scale_factor(values: dict[str, float]) -> None:
    """Meters of one dialect, Tuya's by Zigbee2MQTT for one, give the power factor as such or in percent.

    A little more than 1 is neither for certain, and left out.
    """
    percent = values.pop("power_factor")
    if 2 <= abs(percent) <= 100:
        values["power_factor"] = percent / 100


class PayloadDecoder:
    """Decodes what one device publishes under the filter `topic`. It keeps what later messages need: announced names.

    `zone` is that of a clock which names none; a clock more than `behind_us` behind is not believed.
    """

    def __init__(
        self,
        profile: PayloadProfile,
        zone: tzinfo,
        fields: DeviceFields | None = None,
        topic: str = "#",
        *,
        behind_us: int = BEHIND_US,
    ) -> None:
        self._fields, self._behind_us = fields or DeviceFields(), behind_us
        silent: list[tuple[str, _Reader]] = [
            *((pattern, _Availability(word)) for pattern, word in profile.offline_topics.items()),
            *((pattern, _Ignored()) for pattern in profile.ignored_topics),
        ]
        self._patterns: list[tuple[re.Pattern[str], _Reader, bool]] = [
            (compiled(pattern), reader, False) for pattern, reader in silent
        ]
        for message in profile.message:
            reader = self._reader(message, zone, profile.gather_ms, topic)
            passes = message.others == "pass"
            self._patterns += [(compiled(pattern), reader, passes) for pattern in message.topics]
        self._routes: dict[str, tuple[_Reader, Mapping[str, str]]] = {}

    def decode(self, topic: str, payload: bytes, now_us: int) -> Said:
        """What `payload`, having arrived at `now_us`, says. Raises PayloadError with what was found, and where."""
        route = self._routes.get(topic)
        if route is None:
            route = self._route(topic)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            if len(topic) <= _MAX_TOPIC:
                self._routes[topic] = route
        said = route[0].read(route[1], payload, now_us)
        for values in said.channels.values():
            if "power_factor" in values and not -1 <= values["power_factor"] <= 1:
                _scale_factor(values)
        return said

    def _reader(self, message: Message, zone: tzinfo, gather_ms: int, topic: str) -> _Reader:
        if message.content == "json":
            return DocumentReader(message, self._fields, zone, behind_us=self._behind_us)
        if message.content == "number":
            return NumberReader(message, self._fields, zone, gather_ms, behind_us=self._behind_us)
        return SparkplugReader(message, self._fields, topic, behind_us=self._behind_us)

    def _route(self, topic: str) -> tuple[_Reader, Mapping[str, str]]:
        for pattern, reader, passes in self._patterns:
            match = pattern.fullmatch(topic)
            if match is None:
                continue
            parts = match.groupdict()
            if isinstance(reader, NumberReader) and not reader.knows(parts):
                if passes:
                    continue
                return _Ignored(), {}
            return reader, parts
        return _Ignored(), {}
