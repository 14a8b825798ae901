"""Raw frames that the buffer kept, decoded once more by the profile of their device."""

from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

import msgspec

from edge.clock import utc
from edge.config.models import Config
from edge.config.mqtt import MqttDeviceConfig
from edge.drivers.mqtt.device import MqttDevice
from edge.errors import ConfigError, PayloadError
from edge.frames import BlockReply, ModbusFrame, MqttFrame
from edge.profiles import catalog
from edge.tools.lines.image import Image
from edge.tools.outcome import escaped
from edge.tools.trace.found import FoundFrame

_SHOWN_BYTES = 500


def decoded(config: Config, device: str, time_us: int, body: bytes, values: Mapping[str, float]) -> FoundFrame:
    """The frame `body` of `device`, and whether it says `values`, which may be fewer: a full buffer gives some up."""
    try:
        frame = _frame(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return FoundFrame(utc(time_us), "unknown", [], {}, None, f"no frame that this release knows: {error}")
    raw, kind = list(_raw(frame)), frame.kind
    try:
        again = _again(config, device, time_us, frame)
    except (ConfigError, PayloadError, LookupError, ValueError) as error:
        return FoundFrame(utc(time_us), kind, raw, {}, None, str(error))
    # A message may bring a part of a reading, and a reading have lost a part of what it brought.
    common = again.keys() & values.keys()
    same = bool(common) and all(again[name] == values[name] for name in common)
    return FoundFrame(utc(time_us), kind, raw, again, same, None)


def _frame(body: bytes) -> ModbusFrame | MqttFrame:
    found = msgspec.msgpack.decode(body, type=dict[str, object])
    if found.get("kind") == "mqtt":
        return msgspec.convert(found, MqttFrame)
    return msgspec.convert(found, ModbusFrame)


def _raw(frame: ModbusFrame | MqttFrame) -> Iterator[str]:
    if isinstance(frame, MqttFrame):
        yield f"topic {escaped(frame.topic)}: {_shown(frame.payload)}"
    else:
        yield from (f"function {one.function}, address {one.address:#06x}: {one.hex}" for one in frame.blocks)


def _again(config: Config, device: str, time_us: int, frame: ModbusFrame | MqttFrame) -> dict[str, int | float]:
    if isinstance(frame, MqttFrame):
        return _of_mqtt(config, device, time_us, frame)
    return _of_modbus(config, device, frame)


def _of_modbus(config: Config, device: str, frame: ModbusFrame) -> dict[str, int | float]:
    profile = next((meter.profile for bus in config.modbus for meter in bus.device if meter.id == device), None)
    if profile is None:
        raise LookupError(f"{device} is no Modbus device of this configuration any more")
    if profile == catalog.SUNSPEC:
        raise LookupError("a SunSpec meter says where its values are when it is discovered, and not in each reply")
    image = Image()
    for block in frame.blocks:
        image.put(block.function, block.address, _words(block))
    return dict(image.sample(catalog.modbus(profile)).values)


def _words(block: BlockReply) -> list[int]:
    data = bytes.fromhex(block.hex)
    if block.function <= 2:
        return [data[place // 8] >> place % 8 & 1 for place in range(8 * len(data))]
    return [int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2)]


def _of_mqtt(config: Config, device: str, time_us: int, frame: MqttFrame) -> dict[str, int | float]:
    found = [one for broker in config.mqtt for one in broker.device if device in one.keys]
    if not found:
        raise LookupError(f"{device} is no MQTT device of this configuration any more")
    publisher = _publisher(found[0])
    said = publisher.decode(frame.topic, frame.payload, time_us)
    values: dict[str, int | float] = {}
    for reading in publisher.readings(said, time_us):
        if reading.device == device:
            values |= reading.values
    return values


def _publisher(device: MqttDeviceConfig) -> MqttDevice:
    return MqttDevice(
        id=device.id,
        topic=device.topic,
        profile=catalog.mqtt(device.profile),
        interval_s=device.interval_s,
        zone=ZoneInfo(device.timezone),
        channels=device.channels,
        fields=device.payload_fields,
    )


def _shown(payload: bytes) -> str:
    try:
        text = escaped(payload.decode("utf-8"))
    except UnicodeDecodeError:
        text = f"hex {payload.hex()}"
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]} … {len(text) - _SHOWN_BYTES} more"
