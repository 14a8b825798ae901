"""What the configuration file may say: one model per table of it, each value with its bounds and default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import httpx
from pydantic import Field, field_validator, model_validator

from edge.config.modbus import ModbusConfig
from edge.config.mqtt import MqttConfig
from edge.config.section import Seconds, Section
from edge.profiles import catalog


class GatewayConfig(Section):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    data_dir: str
    stop_timeout_s: Seconds = 10.0


class UplinkConfig(Section):
    """`keep_delivered_s` is how long a batch with a receipt is kept, until the receiver is asked whether it is still
    there."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
    key_file: str
    send_interval_s: Seconds = 2.0
    timeout_s: Seconds = 30.0
    max_readings: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    keep_delivered_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0

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


class BufferConfig(Section):
    """`commit_interval_s` is the loss window: what a power cut can cost at most. `memory_readings` bounds what waits
    in memory while the disk refuses writes.

    `min_free_bytes` stay free on the disk for others. `mount` is where the disk of the data folder is mounted: while
    it is not, the folder beneath is another disk's. `card_endurance_bytes` is what a flash card's maker promises that
    it can be written with. `keep_frames_bytes` of the newest raw frames are kept for `segs-edge explain`.
    """

    commit_interval_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 1.0
    commit_readings: Annotated[int, Field(ge=1, le=5_000)] = 2_000
    max_bytes: Annotated[int, Field(ge=1_048_576)] = 1_073_741_824
    memory_readings: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    min_free_bytes: Annotated[int, Field(ge=0)] = 67_108_864
    mount: Annotated[str, Field(min_length=1)] | None = None
    card_endurance_bytes: Annotated[int, Field(ge=1_000_000_000)] | None = None
    keep_frames_bytes: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _frames_leave_room_for_readings(self) -> Self:
        if self.keep_frames_bytes > self.max_bytes // 2:
            raise ValueError(
                f"keep_frames_bytes of {self.keep_frames_bytes} is more than half of max_bytes, {self.max_bytes}; "
                "readings need the room"
            )
        return self


class MetricsConfig(Section):
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class LogConfig(Section):
    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    gateway: GatewayConfig
    uplink: UplinkConfig
    buffer: BufferConfig = BufferConfig()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()
    modbus: list[ModbusConfig] = Field(default=[])
    mqtt: list[MqttConfig] = Field(default=[])

    @property
    def data_dir(self) -> Path:
        return Path(self.gateway.data_dir)

    def devices(self) -> Iterator[tuple[str, str, int]]:
        """Device key, model, interval in milliseconds of every meter: what is registered in the cloud."""
        for bus in self.modbus:
            for meter in bus.device:
                yield meter.id, _model(meter.profile), round(meter.interval_s * 1000)
        for broker in self.mqtt:
            for device in broker.device:
                for key in device.keys:
                    yield key, _model(device.profile), round(device.interval_s * 1000)


def _model(profile: str) -> str:
    """Where a file is on this machine concerns nobody else."""
    return Path(profile).stem if catalog.is_path(profile) else profile
