"""What the configuration may say of a Modbus line and the meters on it."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from edge.config.section import DeviceId, Host, Port, Seconds, Section, TlsPort, Wait, known_profile

# What may be said of one kind of line only.
_OF_TCP = {"port", "framing", "tls", "connect_timeout_s"}
_OF_SERIAL = {"baud_rate", "parity", "stop_bits"}
_ProfileName = Annotated[str, AfterValidator(lambda name: known_profile("modbus", name))]


class ModbusDeviceConfig(Section):
    id: DeviceId
    unit: Annotated[int, Field(ge=0, le=255)]
    profile: _ProfileName
    interval_s: Seconds = 10.0
    timeout_s: Wait = 1.0


class ModbusConfig(TlsPort):
    """Meters on one line: an endpoint with `host`, where `framing` "rtu" is RTU over TCP; or a port with `serial`.

    `silence_ms` is kept between requests beyond what the standard and the meters' profiles ask for.
    """

    tls_port: ClassVar[int] = 802

    host: Host | None = None
    port: Port = 502
    framing: Literal["tcp", "rtu"] = "tcp"
    connect_timeout_s: Wait = 5.0
    serial: Annotated[str, Field(min_length=1)] | None = None
    baud_rate: Annotated[int, Field(ge=300, le=1_000_000)] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    silence_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    device: Annotated[list[ModbusDeviceConfig], Field(min_length=1)]

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
