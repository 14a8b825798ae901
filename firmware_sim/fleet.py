"""The fleet file: which meters exist, where they answer or publish, and how large their loads are."""

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.errors import FleetError
from firmware_sim.models import MODBUS_MODELS

_NAME = re.compile(r"[A-Za-z0-9._-]{1,96}\Z")
_ENERGY_INTERVAL_S = 10.0
_Port = Annotated[int, Field(ge=0, le=65535)]
_Watts = Annotated[int, Field(ge=50, le=10_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _MeterSpec(_Strict):
    """`utc_offset_h` moves the household's day; `pv_peak_w` is the photovoltaic power at noon, 0 for none."""

    name: str
    peak_w: _Watts = 6000
    pv_peak_w: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    utc_offset_h: Annotated[float, Field(ge=-14, le=14)] = 0.0

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not _NAME.match(name):
            raise ValueError("use 1 to 96 letters, digits, '.', '_' or '-'")
        return name


class ModbusMeterSpec(_MeterSpec):
    model: str
    unit: Annotated[int, Field(ge=1, le=247)]
    phases: Literal[1, 3] = 3

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        return _one_of(model, MODBUS_MODELS)


class MqttMeterSpec(_MeterSpec):
    """`energy_interval_s` is for meters that tell their registers apart, as a Shelly does; a real one every 60 s."""

    model: str
    interval_s: Annotated[float, Field(ge=0.1, le=86_400)] = 10.0
    energy_interval_s: Annotated[float, Field(ge=0.1, le=86_400)] | None = None

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        return _one_of(model, MQTT_DIALECTS)

    @model_validator(mode="after")
    def _fits_the_dialect(self) -> "MqttMeterSpec":
        dialect = MQTT_DIALECTS[self.model]
        if self.pv_peak_w and not dialect.exports:
            raise ValueError(f"{self.model} has no export register: leave pv_peak_w out")
        if self.energy_interval_s is not None and not dialect.energy_apart:
            raise ValueError(f"{self.model} tells its register in every message: leave energy_interval_s out")
        # Power and registers take turns within an interval, and each needs a time of its own.
        step_us = dialect.clock_us * (1 + dialect.energy_apart)
        for interval_s in (self.interval_s, self.energy_interval_s or _ENERGY_INTERVAL_S):
            if abs(interval_s * 1e6 / step_us - round(interval_s * 1e6 / step_us)) > 1e-6:
                raise ValueError(f"too fine for the clock of {self.model}: use multiples of {step_us / 1e6:g} s")
        return self


def _one_of(model: str, models: Collection[str]) -> str:
    if model not in models:
        raise ValueError(f"there is no {model!r}: use one of {', '.join(sorted(models))}")
    return model


class ModbusSpec(_Strict):
    host: str = "127.0.0.1"
    port: _Port
    meter: Annotated[list[ModbusMeterSpec], Field(min_length=1)]

    @field_validator("meter")
    @classmethod
    def _one_meter_per_unit(cls, meters: list[ModbusMeterSpec]) -> list[ModbusMeterSpec]:
        for unit, times in Counter(meter.unit for meter in meters).items():
            if times > 1:
                raise ValueError(f"unit {unit} is used {times} times: give every meter of an endpoint its own unit")
        return meters


class MqttSpec(_Strict):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)]
    meter: Annotated[list[MqttMeterSpec], Field(min_length=1)]


class Fleet(_Strict):
    """`seed` decides every load: the same seed and names give the same registers at the same time."""

    seed: int = 1
    modbus: list[ModbusSpec] = []
    mqtt: list[MqttSpec] = []

    @model_validator(mode="after")
    def _no_clashes(self) -> "Fleet":
        if not self.modbus and not self.mqtt:
            raise ValueError("no meters: add a [[modbus]] or an [[mqtt]] section")
        for name, times in Counter(meter.name for meter in self.meters()).items():
            if times > 1:
                raise ValueError(f"the name {name!r} is used {times} times: give every meter its own")
        listening = Counter((endpoint.host, endpoint.port) for endpoint in self.modbus if endpoint.port)
        for (host, port), times in listening.items():
            if times > 1:
                raise ValueError(f"{host}:{port} is used {times} times: put its meters into one [[modbus]] section")
        return self

    def meters(self) -> Iterator[ModbusMeterSpec | MqttMeterSpec]:
        for modbus in self.modbus:
            yield from modbus.meter
        for mqtt in self.mqtt:
            yield from mqtt.meter


def load(path: Path) -> Fleet:
    """The fleet in `path`. Raises FleetError: which file and key, what was found there, what to do."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FleetError(where=str(path), found=error.strerror or str(error), todo="name a fleet file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FleetError(where=str(path), found=str(error), todo="correct the TOML") from error
    try:
        return Fleet.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        trail = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        if first["type"] == "value_error":
            found, _, todo = first["msg"].removeprefix("Value error, ").rpartition(": ")
            if not found:
                found = repr(first["input"])
        elif first["type"] == "extra_forbidden":
            found, todo = "no such key", "remove or correct it"
        elif first["type"] == "missing":
            found, todo = "is missing", "add it"
        else:
            found, todo = f"{first['input']!r}", first["msg"][0].lower() + first["msg"][1:]
        raise FleetError(where=f"{path}: {trail}" if trail else str(path), found=found, todo=todo) from error
