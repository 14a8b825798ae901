"""What the configuration file may say: one model per table of it, each value with its bounds and default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge.profiles import catalog
from edge.profiles.payload.settings import MAX_CHANNELS, DeviceField, DeviceFields
from edge.validation import suggestion

SUNSPEC = "sunspec"
"""The profile of meters that say themselves where their values are."""
Port = Annotated[int, Field(ge=1, le=65535)]
MODBUS_TLS_PORT, MQTT_TLS_PORT = 802, 8883
# What may be said of one kind of line only.
_OF_TCP = {"port", "framing", "tls", "connect_timeout_s"}
_OF_SERIAL = {"baud_rate", "parity", "stop_bits"}
# What one step of a bus may wait: well below the time after which a loop counts as stuck.
Wait = Annotated[float, Field(gt=0, le=30, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Section(BaseModel):
    # Strict: a port of "1502" or an interval of true is a mistake to show, not to guess at.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _known_profile(kind: str, name: str) -> str:
    known = (*catalog.names(kind), SUNSPEC) if kind == "modbus" else catalog.names(kind)
    if name not in known and not catalog.is_path(name):
        raise ValueError(f"unknown profile{suggestion(name, known)}; known here: {', '.join(known)}")
    return name


def _possible_host(host: str) -> str:
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ValueError("no name and no address: a part between its dots is empty or too long") from error
    return host


Host = Annotated[str, Field(min_length=1), AfterValidator(_possible_host)]
DeviceId = Annotated[str, Field(min_length=1, max_length=88, pattern=r"^[A-Za-z0-9._-]+$")]
ModbusProfileName = Annotated[str, AfterValidator(lambda name: _known_profile("modbus", name))]
MqttProfileName = Annotated[str, AfterValidator(lambda name: _known_profile("mqtt", name))]


class GatewayConfig(_Section):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    data_dir: str
    stop_timeout_s: Seconds = 10.0


class UplinkConfig(_Section):
    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
    key_file: str
    send_interval_s: Seconds = 2.0
    timeout_s: Seconds = 30.0
    max_readings: Annotated[int, Field(ge=1, le=100_000)] = 5_000

    @field_validator("url")
    @classmethod
    def _usable_url(cls, url: str) -> str:
        try:
            port = httpx.URL(url).port
        except httpx.InvalidURL as error:
            raise ValueError(f"no address: {error}; use one like https://segs.example:8080") from error
        if port is not None and not 1 <= port <= 65_535:
            raise ValueError("no address: a port is 1 to 65535; use one like https://segs.example:8080")
        return url


class BufferConfig(_Section):
    """`commit_interval_s` is the loss window: what a power cut can cost at most. `memory_readings` bounds what waits
    in memory while the disk refuses writes."""

    commit_interval_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 1.0
    commit_readings: Annotated[int, Field(ge=1, le=5_000)] = 2_000
    max_bytes: Annotated[int, Field(ge=1_048_576)] = 1_073_741_824
    memory_readings: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000


class MetricsConfig(_Section):
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class LogConfig(_Section):
    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ModbusDeviceConfig(_Section):
    id: DeviceId
    unit: Annotated[int, Field(ge=0, le=255)]
    profile: ModbusProfileName
    interval_s: Seconds = 10.0
    timeout_s: Wait = 1.0


class TlsConfig(_Section):
    """`ca_file` says whom to trust, the system's authorities without it. `server_name` is the name in the peer's
    certificate where that is not `host`."""

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: Host | None = None

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; name both or neither")
        return self

    @property
    def files(self) -> dict[str, str | None]:
        return {"ca_file": self.ca_file, "certificate_file": self.certificate_file, "key_file": self.key_file}

    def under(self, folder: Path) -> "TlsConfig":
        """The same with absolute paths."""
        return self.model_copy(update={key: name and str(folder / name) for key, name in self.files.items()})


class ModbusConfig(_Section):
    """Meters on one line: an endpoint with `host`, where `framing` "rtu" is RTU over TCP; or a port with `serial`.

    `silence_ms` is kept between requests beyond what the standard and the meters' profiles ask for.
    """

    host: Host | None = None
    port: Port = 502
    framing: Literal["tcp", "rtu"] = "tcp"
    tls: TlsConfig | None = None
    connect_timeout_s: Wait = 5.0
    serial: Annotated[str, Field(min_length=1)] | None = None
    baud_rate: Annotated[int, Field(ge=300, le=1_000_000)] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    silence_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    device: Annotated[list[ModbusDeviceConfig], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _port_of_tls(cls, data: object) -> object:
        return {"port": MODBUS_TLS_PORT, **data} if isinstance(data, dict) and data.get("tls") is not None else data

    @model_validator(mode="after")
    def _host_or_serial(self) -> Self:
        if (self.host is None) == (self.serial is None):
            raise ValueError("name either a host or a serial port")
        foreign, kind = (_OF_SERIAL, "a serial line") if self.serial is None else (_OF_TCP, "an endpoint")
        if given := sorted(foreign & self.model_fields_set):
            raise ValueError(f"{', '.join(given)}: of {kind}, which this is not; leave it out")
        if self.serial is not None or self.framing == "rtu":
            for device in self.device:
                if not 1 <= device.unit <= 247:
                    raise ValueError(f"unit {device.unit} of {device.id}; on an RTU line a meter has one of 1 to 247")
        return self

    @property
    def endpoint(self) -> str:
        return self.serial or f"{self.host}:{self.port}"


class MqttDeviceConfig(_Section):
    """`channels` is how many meters are in the device; their keys are `id/1`, `id/2` where there are several.

    `fields` and the keys after it say what is in the payloads of this one device, before what its profile says.
    """

    id: DeviceId
    profile: MqttProfileName
    topic: Annotated[str, Field(min_length=1, max_length=65_535)]
    interval_s: Seconds = 300.0
    timezone: str = "UTC"
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 1
    fields: list[DeviceField] = []
    channels_path: str | None = None
    time_path: str | None = None
    time_format: Literal["iso", "unix", "unix-ms"] | None = None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no time zone of that name; use one like Europe/Berlin, or UTC") from error
        return name

    @field_validator("topic")
    @classmethod
    def _valid_filter(cls, topic: str) -> str:
        levels = topic.split("/")
        if "#" in levels[:-1] or any(len(level) > 1 and ("#" in level or "+" in level) for level in levels):
            raise ValueError("not a topic filter; + stands for one whole level, # for all that follow, at the end only")
        return topic

    @model_validator(mode="after")
    def _fields_suit_the_profile(self) -> Self:
        try:
            fields = self.payload_fields
        except ValidationError as error:
            raise ValueError("; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())) from error
        catalog.mqtt(self.profile).check(fields)
        return self

    @property
    def payload_fields(self) -> DeviceFields:
        return DeviceFields(
            fields=tuple(self.fields),
            channels_path=self.channels_path,
            time_path=self.time_path,
            time_format=self.time_format,
        )

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.id,) if self.channels == 1 else tuple(f"{self.id}/{n}" for n in range(1, self.channels + 1))


class MqttConfig(_Section):
    """`protocol` is 3.1.1 because every broker speaks it, and an older one refuses a client of 5; that one says more
    when it refuses. `session_expiry_s` is for 5: how long the broker is to keep what comes while the gateway is away.
    """

    host: Host
    port: Port = 1883
    client_id: Annotated[str, Field(min_length=1, max_length=100)]
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    username: str | None = None
    password_file: str | None = None
    tls: TlsConfig | None = None
    session_expiry_s: Annotated[int, Field(ge=3_600, le=4_294_967_295)] = 2_592_000
    keepalive_s: Annotated[int, Field(ge=5, le=65_535)] = 30
    device: Annotated[list[MqttDeviceConfig], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _port_of_tls(cls, data: object) -> object:
        return {"port": MQTT_TLS_PORT, **data} if isinstance(data, dict) and data.get("tls") is not None else data

    @model_validator(mode="after")
    def _password_needs_a_name(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file without username; name the user as well")
        return self


class Config(_Section):
    gateway: GatewayConfig
    uplink: UplinkConfig
    buffer: BufferConfig = BufferConfig()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()
    modbus: list[ModbusConfig] = []
    mqtt: list[MqttConfig] = []

    @property
    def data_dir(self) -> Path:
        return Path(self.gateway.data_dir)

    def devices(self) -> Iterator[tuple[str, str, int]]:
        """Device key, profile, interval in milliseconds of every meter: what is registered in the cloud."""
        for bus in self.modbus:
            for device in bus.device:
                yield device.id, device.profile, round(device.interval_s * 1000)
        for broker in self.mqtt:
            for plug in broker.device:
                for key in plug.keys:
                    yield key, plug.profile, round(plug.interval_s * 1000)
