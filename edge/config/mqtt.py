"""What the configuration may say of an MQTT broker and the devices that publish there."""

from typing import Annotated, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from edge.config.section import DeviceId, Host, Port, Seconds, Section, TlsPort, known_profile
from edge.profiles import catalog
from edge.profiles.payload.settings import MAX_CHANNELS, DeviceField, DeviceFields

_ProfileName = Annotated[str, AfterValidator(lambda name: known_profile("mqtt", name))]


class MqttDeviceConfig(Section):
    """`channels` is how many meters are in the device; their keys are `id/1`, `id/2` where there are several.

    `fields` and the keys after it say what is in the payloads of this one device, before what its profile says.
    """

    id: DeviceId
    profile: _ProfileName
    topic: Annotated[str, Field(min_length=1, max_length=65_535)]
    interval_s: Seconds = 300.0
    timezone: str = "UTC"
    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 1
    fields: list[DeviceField] = Field(default=[])
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
        # A path is relative to a folder that is not known here.
        if not catalog.is_path(self.profile):
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


class MqttConfig(TlsPort):
    """`protocol` is 3.1.1 because every broker speaks it, and an older one refuses a client of 5; that one says more
    when it refuses. `session_expiry_s` is for 5: how long the broker is to keep what comes while the gateway is away.
    """

    tls_port: ClassVar[int] = 8883

    host: Host
    port: Port = 1883
    client_id: Annotated[str, Field(min_length=1, max_length=100)]
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    username: str | None = None
    password_file: str | None = None
    session_expiry_s: Annotated[int, Field(ge=3_600, le=4_294_967_295)] = 2_592_000
    keepalive_s: Annotated[int, Field(ge=5, le=65_535)] = 30
    device: Annotated[list[MqttDeviceConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _password_needs_a_name(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file without username; name the user as well")
        return self
