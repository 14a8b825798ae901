"""The MQTT brokers of a configuration, as clients that are ready to run."""

from zoneinfo import ZoneInfo

from edge.clock import Clock
from edge.config.files import password, tls_context
from edge.config.mqtt import MqttConfig
from edge.drivers.mqtt.broker import BrokerClient
from edge.drivers.mqtt.connection import Login
from edge.drivers.mqtt.device import MqttDevice
from edge.drivers.sink import Sink
from edge.heartbeat import Heartbeats
from edge.profiles import catalog


def client(
    broker: MqttConfig, trail: str, *, sink: Sink, clock: Clock, beats: Heartbeats, keep_frames: bool = False
) -> BrokerClient:
    """A client that puts into `sink`.

    Raises ConfigError, under the `trail` of `broker`, when the password or what TLS needs cannot be read.
    """
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
    return BrokerClient(
        login=_login(broker, trail),
        devices=devices,
        sink=sink,
        clock=clock,
        moving=beats.loop(f"mqtt {broker.host}:{broker.port}"),
        keep_frames=keep_frames,
    )


def _login(broker: MqttConfig, trail: str) -> Login:
    tls, file = broker.tls, broker.password_file
    return Login(
        host=broker.host,
        port=broker.port,
        client_id=broker.client_id,
        version=broker.protocol,
        username=broker.username,
        password=None if file is None else password(file, f"{trail}.password_file"),
        keepalive_s=broker.keepalive_s,
        session_expiry_s=broker.session_expiry_s,
        tls=None if tls is None else tls_context(tls, f"{trail}.tls"),
        server_name=None if tls is None else tls.server_name,
    )
