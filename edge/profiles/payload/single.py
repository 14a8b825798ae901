"""Topics with one number each: the topic says what it is."""

from collections.abc import Mapping
from datetime import tzinfo

from edge.errors import PayloadError
from edge.profiles.payload.clock import BEHIND_US, believed_us, instant_us
from edge.profiles.payload.number import NotANumber
from edge.profiles.payload.row import Row
from edge.profiles.payload.said import Channels, Said
from edge.profiles.payload.schema import Message
from edge.profiles.payload.settings import DeviceFields


class NumberReader:
    """Reads topics that carry one number each. It keeps the parts of a sum until the last of them has come."""

    def __init__(
        self, message: Message, fields: DeviceFields, zone: tzinfo, gather_ms: int, *, behind_us: int = BEHIND_US
    ) -> None:
        self._zone, self._gather_us, self._behind_us = zone, gather_ms * 1000, behind_us
        self._clock_fields = frozenset(message.time_paths)
        self._time_format = message.time_format
        self._by_field: dict[str, list[Row]] = {}
        # What the configuration says of a name, or of a quantity, is said; the profile's rows for it yield.
        own = {row.quantity for row in fields.fields}
        taken = {row.path for row in fields.fields}
        rows = [row for row in message.fields if row.quantity not in own and taken.isdisjoint(row.paths)]
        made = [*(Row(row, named=True) for row in fields.fields), *(Row(row, named=True) for row in rows)]
        for rank, row in enumerate(made):
            row.rank = rank
            for path in row.paths:
                self._by_field.setdefault(str(path[0]), []).append(row)
        self._meant: dict[tuple[int | None, str], int] = {}
        self._sums: dict[tuple[Row, int | None], dict[str, tuple[object, int]]] = {}

    def knows(self, parts: Mapping[str, str]) -> bool:
        field = self._field(parts)
        return field in self._by_field or field in self._clock_fields

    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said:
        """What `payload` says of the topic's field. Raises PayloadError."""
        field = self._field(parts)
        try:
            text = payload.removeprefix(b"\xef\xbb\xbf").decode().strip("\0 \t\r\n")
        except UnicodeDecodeError as error:
            raise PayloadError(f"{field}: not UTF-8 at byte {error.start}") from error
        if field in self._clock_fields:
            clock_us = instant_us(text.strip('"'), self._time_format, self._zone, now_us)
            return Said({}, believed_us(clock_us, now_us, self._behind_us), partial=True)
        number = int(parts.get("channel", 0))
        channels: Channels = {}
        for row in self._by_field[field]:
            channel = row.channel if row.channel is not None else number + 1 if number else None
            try:
                value = self._value(row, field, text, channel, now_us)
            except NotANumber as error:
                raise PayloadError(f"{field}: {error}") from error
            if value is not None and self._meant.setdefault((channel, row.quantity), row.rank) >= row.rank:
                self._meant[channel, row.quantity] = row.rank
                channels.setdefault(channel, {})[row.quantity] = value
        return Said(channels, partial=True)

    def _field(self, parts: Mapping[str, str]) -> str:
        field = parts["field"]
        node = parts.get("node", "").replace("-", "_")
        # Many name their sensors after the node: kitchen/sensor/kitchen_power.
        return field.removeprefix(f"{node}_") if field not in self._by_field and node else field

    def _value(self, row: Row, field: str, text: str, channel: int | None, now_us: int) -> float | None:
        if len(row.paths) == 1:
            return row.value(text)
        known = self._sums.setdefault((row, channel), {})
        row.value(text)
        known[field] = (text, now_us)
        if any(now_us - at_us > self._gather_us for _, at_us in known.values()) or len(known) < len(row.paths):
            return None
        parts = [known[str(path[0])][0] for path in row.paths]
        known.clear()
        return row.sum(parts)
