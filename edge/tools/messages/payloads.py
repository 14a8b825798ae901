"""Payloads to readings as `segs-edge decode` shows them."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from contract.quantities import BY_NAME
from edge.errors import ConfigError, PayloadError
from edge.profiles import catalog
from edge.profiles.payload.decode import PayloadDecoder
from edge.profiles.payload.said import Said
from edge.profiles.payload.settings import DeviceFields
from edge.reading import canonical
from edge.tools import table
from edge.tools.messages.topics import device_of, source_of
from edge.tools.outcome import ToolFault, escaped
from edge.validation import describe

_RAW, _FAILED_CHECKS = 14, 10


@dataclass(kw_only=True)
class Item:
    """A reading on its way to the screen, or with no `values` what is to be said of a message without one.

    `flawed` says that something of it could not be used.
    """

    device: str
    channel: int | None
    time_us: int
    from_device: bool
    values: dict[str, int | float]
    flawed: bool = False
    doubts: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)

    @property
    def quality(self) -> int:
        """ESPI QualityOfReading: 14 raw, 10 failed checks."""
        sound = all(BY_NAME[name].plausible(value) for name, value in self.values.items())
        return _RAW if sound and not self.flawed else _FAILED_CHECKS

    @property
    def time(self) -> str:
        moment = datetime.fromtimestamp(self.time_us // 1_000_000, UTC).replace(microsecond=self.time_us % 1_000_000)
        kept = "microseconds" if self.time_us % 1000 else "milliseconds" if self.time_us % 1_000_000 else "seconds"
        return moment.isoformat(timespec=kept).replace("+00:00", "Z")

    def reading(self) -> dict[str, Any]:
        return {
            "device": self.device,
            **({} if self.channel is None else {"channel": self.channel}),
            "time": self.time,
            "time_source": "device" if self.from_device else "gateway",
            "values": table.ordered(self.values),
            "quality": self.quality,
        }

    def title(self) -> str:
        channel = "" if self.channel is None else f" channel {self.channel}"
        clock = "the device's clock" if self.from_device else "the gateway's clock"
        return f"{escaped(self.device)}{channel}: {self.time} by {clock}, quality {self.quality}"


class Payloads:
    """Decodes messages in the order in which they came, by a decoder for each device.

    A device's clock is believed while it is at most `behind_us` behind.
    Raises ConfigError when the profile needs fields that `fields_file` does not give, or cannot use those it does.
    """

    def __init__(self, *, profile: str, zone: ZoneInfo, fields_file: Path | None, behind_us: int) -> None:
        self._behind_us = behind_us
        self._name, self._profile, self._zone = profile, catalog.mqtt(profile), zone
        self._fields = None if fields_file is None else _fields(fields_file)
        try:
            self._profile.check(self._fields)
        except ValueError as error:
            where = f"--profile {profile}" if fields_file is None else str(fields_file)
            todo = "; give --fields a TOML file with them" if fields_file is None else ""
            raise ConfigError([f"{where}: {error}{todo}"]) from error
        self._decoders: dict[str, PayloadDecoder] = {}
        self._gathering: dict[tuple[str, int | None], Item] = {}

    def items(self, where: str, topic: str, payload: bytes, *, now_us: int) -> Iterator[Item]:
        """What the message says; `where` names it in errors. What belongs to an item given before goes into that."""
        device, source = device_of(self._name, topic), source_of(self._name, topic)
        decoder = self._decoders.get(source)
        if decoder is None:
            decoder = self._decoders[source] = PayloadDecoder(
                self._profile, self._zone, self._fields, "#", behind_us=self._behind_us
            )
        try:
            said = decoder.decode(topic, payload, now_us)
        except PayloadError as error:
            raise ToolFault(
                f"{where}, topic {escaped(topic)}: {escaped(str(error))}; "
                f"is {self._name} its profile? segs-edge profiles lists all"
            ) from error
        for one in (*said.earlier, said):
            yield from self._of(where, topic, device, one, now_us)

    def _of(self, where: str, topic: str, device: str, said: Said, now_us: int) -> Iterator[Item]:
        doubts = [escaped(f"{where}: {skipped}: not used") for skipped in said.skipped]
        if not said.channels:
            reason = "the device says that it is gone" if said.offline else "nothing of a meter in it"
            if said.needs_rebirth:
                reason = "its names were announced in a birth message that is not there; begin with that"
            quiet = said.partial or (said.earlier and not said.ignored)
            doubts += [] if quiet else [escaped(f"{where}, topic {topic}: {reason}")]
        first: Item | None = None
        for channel, raw in sorted(said.channels.items(), key=lambda each: each[0] or 0):
            values, impossible = canonical(raw)
            shown = channel if channel is not None else 1 if len(said.channels) > 1 else None
            item = Item(
                device=device,
                channel=shown,
                time_us=now_us if said.time_us is None else said.time_us,
                from_device=said.time_us is not None,
                values=values,
                flawed=bool(said.skipped or impossible),
                doubts=[f"{where}: {name} = {raw[name]:g}: fits no column" for name in impossible],
                explained=[f"{where}, topic {topic}: {name} = {raw[name]!r} {BY_NAME[name].unit}" for name in raw],
            )
            first = first or item
            if not (said.partial and self._gathered(item)):
                yield item
        if doubts and first is not None:
            first.doubts += doubts
        elif doubts:
            yield Item(device=device, channel=None, time_us=now_us, from_device=False, values={}, doubts=doubts)

    def _gathered(self, item: Item) -> bool:
        """Whether `item`, of a message with one value of several, went into the item of the messages before."""
        key = (item.device, item.channel)
        before = self._gathering.get(key)
        if before is None or before.values.keys() & item.values.keys():
            self._gathering[key] = item
            return False
        before.values |= item.values
        before.flawed = before.flawed or item.flawed
        before.explained += item.explained
        before.doubts += item.doubts
        return True


def _fields(file: Path) -> DeviceFields:
    try:
        data = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ToolFault(f"{file}: {error.strerror}; name a readable file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ToolFault(f"{file}: not TOML: {error}") from error
    try:
        return DeviceFields.model_validate(data)
    except ValidationError as error:
        raise ConfigError([f"{file}: {line}" for line in describe(error, DeviceFields, data)]) from error
