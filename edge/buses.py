"""The buses and brokers of a configuration, as drivers that are ready to run."""

from pathlib import Path
from zoneinfo import ZoneInfo

from edge.clock import Clock
from edge.config.models import ModbusConfig, MqttConfig
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import tcp_line
from edge.drivers.mqtt.broker import MqttBus
from edge.drivers.mqtt.connection import Login
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.sink import Sink
from edge.errors import ConfigError
from edge.heartbeat import Heartbeats
from edge.profiles import catalog
from edge.tls import context

_COMMIT_PATIENCE_S = 5.0


class BusFactory:
    """Makes drivers that put into `sink`. With `wait_commit` a bus polls on only once its last reading is committed."""

    def __init__(self, *, sink: Sink, clock: Clock, beats: Heartbeats, wait_commit: bool) -> None:
        self._sink, self._clock, self._beats, self._wait_commit = sink, clock, beats, wait_commit

    def modbus(self, bus: ModbusConfig) -> ModbusBus:
        devices = [
            ModbusDevice(
                id=device.id,
                unit=device.unit,
                profile=catalog.modbus(device.profile),
                interval_s=device.interval_s,
                timeout_s=device.timeout_s,
            )
            for device in bus.device
        ]
        line = tcp_line(host=bus.host, port=bus.port, connect_timeout_s=bus.connect_timeout_s)
        return ModbusBus(
            line=line,
            devices=devices,
            sink=self._sink,
            clock=self._clock,
            moving=self._beats.loop(f"modbus {line.endpoint}"),
            wait_commit_s=_COMMIT_PATIENCE_S if self._wait_commit else 0.0,
        )

    def mqtt(self, broker: MqttConfig) -> MqttBus:
        """Raises ConfigError when the password, or what TLS needs, cannot be read."""
        devices = [
            MqttDevice(
                id=device.id,
                topic=device.topic,
                profile=catalog.mqtt(device.profile),
                interval_s=device.interval_s,
                zone=ZoneInfo(device.timezone),
                channels=device.channels,
                fields=device.payload_fields,
            )
            for device in broker.device
        ]
        return MqttBus(
            login=_login(broker),
            devices=devices,
            sink=self._sink,
            clock=self._clock,
            moving=self._beats.loop(f"mqtt {broker.host}:{broker.port}"),
        )


def _login(broker: MqttConfig) -> Login:
    """Raises ConfigError when a file cannot be used."""
    tls = broker.tls
    return Login(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id,
        version=broker.protocol,
        username=broker.username,
        password=_password(broker.password_file),
        keepalive_s=broker.keepalive_s,
        session_expiry_s=broker.session_expiry_s,
        tls=None if tls is None else context(**tls.files, trail="mqtt.tls"),
        server_name=None if tls is None else tls.server_name,
    )


def _password(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError([f"mqtt.password_file: {path}: {error.strerror}; name a readable file"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"mqtt.password_file: {path}: not UTF-8; save the file as UTF-8"]) from error
