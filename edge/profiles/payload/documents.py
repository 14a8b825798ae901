"""Messages that are JSON documents: the components in them, and the fields that a configuration names."""

import re
from collections.abc import Mapping
from datetime import tzinfo

from edge.errors import PayloadError
from edge.profiles.payload.clock import BEHIND_US, TimeFormat, believed_us, instant_us
from edge.profiles.payload.number import NotANumber, shown
from edge.profiles.payload.path import EACH, at, steps
from edge.profiles.payload.row import Row
from edge.profiles.payload.rows import Rows
from edge.profiles.payload.said import NOTHING, Channels, Said
from edge.profiles.payload.schema import Message
from edge.profiles.payload.settings import MAX_CHANNELS, DeviceFields
from edge.profiles.payload.telegram import telegram
from edge.profiles.payload.text import parsed

_DOCUMENT = "$"
_SHOWN_KEYS = 8


class DocumentReader:
    """Reads JSON documents, and P1 telegrams where the message may be one."""

    def __init__(self, message: Message, fields: DeviceFields, zone: tzinfo, *, behind_us: int = BEHIND_US) -> None:
        self._zone, self._behind_us = zone, behind_us
        self._wrappers, self._telegrams = message.wrappers, message.telegrams
        self._ignore_foreign = message.foreign == "ignore"
        self._own = tuple(Row(row) for row in fields.fields)
        self._own_channels = None if fields.channels_path is None else steps(fields.channels_path)
        self._clocks = tuple((steps(path), message.time_format) for path in message.time_paths)
        if fields.time_path is not None:
            written: TimeFormat = fields.time_format or "auto"
            self._clocks = ((steps(fields.time_path), written), *self._clocks)
        self._rows = tuple(Rows(component) for component in message.components)
        self._by_key: dict[str, int] = {}
        self._marks: list[tuple[str, int]] = []
        self._whole: list[int] = []
        for place, component in enumerate(message.components):
            for key in component.keys:
                if key == _DOCUMENT:
                    self._whole.append(place)
                else:
                    self._by_key[key] = place
            self._marks += [(mark, place) for mark in component.marks]
        names = [row.name for row in self._own]
        for component in message.components:
            whole = component.keys[0] == _DOCUMENT
            names += [Row(row).name for row in component.fields[:_SHOWN_KEYS]] if whole else component.keys[:1]
        names = list(dict.fromkeys(names))[:_SHOWN_KEYS]
        self._expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else "field"]))

    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said:
        """What `payload` says; `parts` are the named levels of its topic. Raises PayloadError."""
        document = telegram(payload) if self._telegrams and payload.lstrip()[:1] == b"/" else parsed(payload)
        if not isinstance(document, dict):
            raise PayloadError(f"a JSON {_kind(document)}, not an object")
        for wrapper in self._wrappers:
            if isinstance(inner := document.get(wrapper), dict):
                document = inner
        channels: Channels = {}
        skipped: list[str] = []
        found = self._read_own(document, channels, skipped)
        found = self._read_components(parts, document, channels, skipped) or found
        if not channels and skipped:
            raise PayloadError("no usable number in it: " + "; ".join(skipped[:_SHOWN_KEYS]))
        if not found:
            if self._ignore_foreign:
                return NOTHING
            for key, content in document.items():
                if key != _DOCUMENT and key in self._by_key and isinstance(content, dict):
                    raise PayloadError(f"no field of {key} that is known, only {_keys(content)}; name it under fields")
            raise PayloadError(f"no {self._expected} in it, only {_keys(document)}")
        if None in channels and len(channels) > 1:
            channels[1] = {**channels.pop(None), **channels.get(1, {})}
        return Said(channels, self._time_us(document, now_us), tuple(skipped))

    def _read_components(
        self, parts: Mapping[str, str], document: dict[str, object], channels: Channels, skipped: list[str]
    ) -> bool:
        hits: list[tuple[int, int | None, object]] = []
        if (name := parts.get("component")) is not None:
            place, channel = self._named(name)
            if place is not None:
                hits.append((place, channel, document))
        else:
            for key, content in document.items():
                place, channel = self._named(key)
                if place is not None:
                    hits.append((place, channel, content))
            hits += [(place, None, document) for place in self._whole]
            if not hits:
                hits += [(place, _own_id(document), document) for mark, place in self._marks if mark in document][:1]
        if len(hits) > 1:
            # Where two parts say the same of one meter, the profile's order decides, not the payload's.
            hits.sort(key=lambda hit: hit[0])
        found = False
        for place, channel, content in hits:
            rows = self._rows[place]
            if isinstance(content, dict):
                valid = rows.read(content, channels, channel, skipped)
                found = (valid and content is not document and rows.names_any(content)) or found
            elif isinstance(content, list):
                several = len(content) > 1
                for index, entry in enumerate(content[:MAX_CHANNELS], start=1):
                    if isinstance(entry, dict):
                        rows.read(entry, channels, index if several else channel, skipped)
                        found = True
        return found or bool(channels) or bool(parts.get("component") and hits) or self._known(hits, document)

    def _known(self, hits: list[tuple[int, int | None, object]], document: dict[str, object]) -> bool:
        """Whether a document without a usable value is of a meter all the same: its fields are there, and null."""
        return any(content is document and self._rows[place].names_any(document) for place, _channel, content in hits)

    def _named(self, key: str) -> tuple[int | None, int | None]:
        """Which component `key` names, and of which meter: `em:0` is the first, and perhaps the only one."""
        place = self._by_key.get(key)
        if place is not None:
            return place, None
        name, colon, number = key.partition(":")
        # Three digits, as add-ons have them: what a publisher numbers beyond makes no device key.
        if colon and len(number) <= 3 and number.isascii() and number.isdigit():
            return self._by_key.get(name), int(number) + 1 if int(number) else None
        return None, None

    def _read_own(self, document: dict[str, object], channels: Channels, skipped: list[str]) -> bool:
        if not self._own:
            return False
        if self._own_channels is None:
            return self._read_fields(document, channels, None, skipped)
        entries = at(document, self._own_channels)
        if not isinstance(entries, list):
            return False
        if len(entries) > MAX_CHANNELS:
            raise PayloadError(f"an array of {len(entries)} at channels_path is no list of meters")
        found = False
        for index, entry in enumerate(entries, start=1):
            channel = index if len(entries) > 1 else None
            found = (isinstance(entry, dict) and self._read_fields(entry, channels, channel, skipped)) or found
        return found

    def _read_fields(
        self, content: dict[str, object], channels: Channels, channel: int | None, skipped: list[str]
    ) -> bool:
        found = False
        for row in self._own:
            path = row.paths[0]
            written = at(content, path)
            if written is None:
                found = found or _present(content, path)
                continue
            found = True
            entries = written if EACH in path and isinstance(written, list) else [written]
            if len(entries) > MAX_CHANNELS:
                skipped.append(f"{row.name}: an array of {len(entries)} is no list of meters")
                continue
            for index, entry in enumerate(entries, start=1):
                try:
                    value = row.value(entry)
                except NotANumber as error:
                    skipped.append(f"{row.name}: {error}")
                    continue
                if value is not None:
                    meter = row.channel if row.channel is not None else index if len(entries) > 1 else channel
                    channels.setdefault(meter, {}).setdefault(row.quantity, value)
        return found

    def _time_us(self, document: dict[str, object], now_us: int) -> int | None:
        for path, written in self._clocks:
            clock = at(document, path)
            if clock is not None:
                return believed_us(instant_us(clock, written, self._zone, now_us), now_us, self._behind_us)
        return None


def _keys(content: dict[str, object]) -> str:
    return ", ".join(shown(key)[1:-1] for key in list(content)[:_SHOWN_KEYS]) or "nothing"


def _present(content: dict[str, object], path: tuple[str | int, ...]) -> bool:
    """Whether `path` leads to something, even if that is null."""
    inner = at(content, path[:-1]) if len(path) > 1 else content
    return isinstance(inner, dict) and path[-1] in inner


def _own_id(document: dict[str, object]) -> int | None:
    # Some firmware writes it as a string.
    number = str(document.get("id"))
    return int(number) + 1 if re.fullmatch("[1-9][0-9]{0,2}", number) else None


def _kind(document: object) -> str:
    if document is None or isinstance(document, bool):
        return "null" if document is None else "boolean"
    return {"str": "string", "int": "number", "float": "number"}.get(type(document).__name__, type(document).__name__)
