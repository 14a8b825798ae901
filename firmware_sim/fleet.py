"""The fleet file: which meters exist, where they answer or publish, and how large their loads are."""

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from firmware_sim import dialects
from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.errors import FleetError
from firmware_sim.faults.fit import Transport, lacking, refusal
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.models import MODBUS_MODELS, SINGLE_PHASE

_NAME = re.compile(r"[A-Za-z0-9._-]{1,96}\Z")
ENERGY_INTERVAL_S = 10.0
_Port = Annotated[int, Field(ge=0, le=65535)]
_Watts = Annotated[int, Field(ge=50, le=10_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _MeterSpec(_Strict):
    """`utc_offset_h` moves the household's day; `pv_peak_w` is the photovoltaic power at noon, 0 for none.

    The `quantity` of a fault is one that the meter has, by its canonical name.
    """

    name: str
    model: str
    peak_w: _Watts = 6000
    pv_peak_w: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    utc_offset_h: Annotated[float, Field(ge=-14, le=14)] = 0.0
    fault: list[FaultSpec] = []

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not _NAME.match(name):
            raise ValueError("use 1 to 96 letters, digits, '.', '_' or '-'")
        return name

    def refusal(self, fault: FaultSpec, transport: Transport) -> str:
        """Why `fault` cannot happen to this meter behind `transport`, and what to do; "" if it can."""
        return refusal(fault, transport) or lacking(fault, model=self.model, quantities=self.quantities)

    @property
    def quantities(self) -> frozenset[str]:
        """What the meter tells of its connection, by canonical name."""
        raise NotImplementedError


class ModbusMeterSpec(_MeterSpec):
    """`phases` is the connection's; left out, as many as the model measures."""

    unit: Annotated[int, Field(ge=1, le=247)]
    phases: Literal[1, 3] | None = None

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        return _one_of(model, MODBUS_MODELS)

    @model_validator(mode="after")
    def _measurable(self) -> "ModbusMeterSpec":
        if self.phases == 3 and self.model in SINGLE_PHASE:
            raise ValueError(f"{self.model} measures one phase: leave phases out")
        return self

    @property
    def quantities(self) -> frozenset[str]:
        measured = MODBUS_MODELS[self.model].quantities
        return frozenset(name for name in measured if self.phases != 1 or not re.search("_l[23]_", name))


class MqttMeterSpec(_MeterSpec):
    """`energy_interval_s` is for meters that tell their registers apart, as a Shelly does; a real one every 60 s.

    Meters of a broker share a connection, but for those whose model has a will or that have their `own_connection`.
    """

    interval_s: Annotated[float, Field(ge=0.1, le=86_400)] = 10.0
    energy_interval_s: Annotated[float, Field(ge=0.1, le=86_400)] | None = None
    own_connection: bool = False

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
        for interval_s in (self.interval_s, self.energy_interval_s or ENERGY_INTERVAL_S):
            if abs(interval_s * 1e6 / step_us - round(interval_s * 1e6 / step_us)) > 1e-6:
                raise ValueError(f"too fine for the clock of {self.model}: use multiples of {step_us / 1e6:g} s")
        return self

    @property
    def quantities(self) -> frozenset[str]:
        return dialects.quantities(self.model)


def _one_of(model: str, models: Collection[str]) -> str:
    if model not in models:
        raise ValueError(f"there is no {model!r}: use one of {', '.join(sorted(models))}")
    return model


class TlsSpec(_Strict):
    """PEM files; with `ca_file` a client must bring a certificate that it signed."""

    certificate_file: Path
    key_file: Path
    ca_file: Path | None = None


class ModbusSpec(_Strict):
    """An endpoint on `host`:`port`, or, with transport "rtu", a pseudo-terminal that `pty` becomes a link to.

    `baud_rate` makes a pseudo-terminal as slow as that line. `silence_ms` is the silence that its meters need before a
    request; one that comes sooner after the last frame gets no answer.
    """

    transport: Literal["tcp", "rtu", "rtu-over-tcp", "tls"] = "tcp"
    host: str = "127.0.0.1"
    port: _Port | None = None
    pty: Path | None = None
    baud_rate: Annotated[int, Field(ge=300, le=4_000_000)] | None = None
    silence_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    tls: TlsSpec | None = None
    fault: list[FaultSpec] = []
    meter: Annotated[list[ModbusMeterSpec], Field(min_length=1)]

    @field_validator("meter")
    @classmethod
    def _one_meter_per_unit(cls, meters: list[ModbusMeterSpec]) -> list[ModbusMeterSpec]:
        for unit, times in Counter(meter.unit for meter in meters).items():
            if times > 1:
                raise ValueError(f"unit {unit} is used {times} times: give every meter of an endpoint its own unit")
        return meters

    @model_validator(mode="after")
    def _one_place(self) -> "ModbusSpec":
        line = self.transport == "rtu"
        if line and (self.pty is None or self.port is not None):
            raise ValueError("transport rtu is a pseudo-terminal: give pty, and no port")
        if not line and (self.port is None or self.pty is not None or self.baud_rate is not None):
            raise ValueError(f"transport {self.transport} listens on a port: give port, and neither pty nor baud_rate")
        if (self.transport == "tls") != (self.tls is not None):
            raise ValueError("transport tls and the table tls belong together: give both or neither")
        for fault in self.fault:
            if KINDS[fault.kind].scope != "endpoint":
                raise ValueError(f"{fault.kind} happens to a meter: move it to the meter's own fault list")
            if reason := refusal(fault, self.transport):
                raise ValueError(reason)
        _refuse(self.meter, self.transport)
        return self


class MqttSpec(_Strict):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)]
    meter: Annotated[list[MqttMeterSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _faults_fit(self) -> "MqttSpec":
        _refuse(self.meter, "mqtt")
        return self


def _refuse(meters: Iterable[_MeterSpec], transport: Transport) -> None:
    for meter in meters:
        for fault in meter.fault:
            if reason := meter.refusal(fault, transport):
                raise ValueError(reason)


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
        for path, times in Counter(endpoint.pty for endpoint in self.modbus if endpoint.pty).items():
            if times > 1:
                raise ValueError(f"{path} is used {times} times: put its meters into one [[modbus]] section")
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
