"""Sparkplug B."""

from collections.abc import Mapping

from edge.errors import PayloadError
from edge.profiles.payload.said import Said
from edge.profiles.payload.schema import Message
from edge.profiles.payload.settings import DeviceFields


class SparkplugReader:
    """Reads what an edge node and its devices publish."""

    def __init__(self, message: Message, fields: DeviceFields, topic: str) -> None:
        self._fields = fields

    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said:
        raise PayloadError("not read yet")
