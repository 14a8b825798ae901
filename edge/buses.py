"""The Modbus buses of a configuration, as drivers that are ready to run."""

from collections.abc import Callable

from edge.clock import Clock
from edge.config.files import tls_context
from edge.config.modbus import ModbusConfig
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import Line, serial_line, tcp_line
from edge.drivers.modbus.set_aside import SetAside
from edge.drivers.sink import Sink
from edge.heartbeat import Heartbeats
from edge.profiles import catalog
from edge.profiles.modbus import sunspec

_COMMIT_PATIENCE_S = 5.0


class BusFactory:
    """Makes drivers that put into `sink`. With `wait_commit` a bus polls on only once its last reading is committed.

    `newest_us` tells the time of the newest reading before this start, None where there is none.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        clock: Clock,
        beats: Heartbeats,
        wait_commit: bool,
        newest_us: Callable[[], int | None] = lambda: None,
        set_aside: SetAside | None = None,
        keep_frames: bool = False,
    ) -> None:
        self._sink, self._clock, self._beats, self._wait_commit = sink, clock, beats, wait_commit
        self._newest_us, self._set_aside, self._keep_frames = newest_us, set_aside, keep_frames

    def modbus(self, bus: ModbusConfig, trail: str) -> ModbusBus:
        """Raises ConfigError, under the `trail` of `bus`, when what TLS needs cannot be read."""
        devices = [
            ModbusDevice(
                id=device.id,
                unit=device.unit,
                profile=None if device.profile == catalog.SUNSPEC else catalog.modbus(device.profile),
                discover=sunspec.discover if device.profile == catalog.SUNSPEC else None,
                interval_s=device.interval_s,
                timeout_s=device.timeout_s,
                set_aside=self._set_aside,
                newest_us=self._newest_us,
            )
            for device in bus.device
        ]
        silence_s = max(bus.silence_ms, *(device.profile.silence_ms for device in devices if device.profile), 0) / 1000
        line = _line(bus, silence_s, trail)
        return ModbusBus(
            line=line,
            devices=devices,
            sink=self._sink,
            clock=self._clock,
            moving=self._beats.loop(f"modbus {line.endpoint}"),
            wait_commit_s=_COMMIT_PATIENCE_S if self._wait_commit else 0.0,
            keep_frames=self._keep_frames,
        )


def _line(bus: ModbusConfig, silence_s: float, trail: str) -> Line:
    if bus.serial is not None:
        return serial_line(
            path=bus.serial,
            baud_rate=bus.baud_rate,
            parity=bus.parity,
            stop_bits=bus.stop_bits,
            silence_s=silence_s or None,
        )
    assert bus.host is not None
    tls = bus.tls
    return tcp_line(
        host=bus.host,
        port=bus.port,
        framing=bus.framing,
        tls=None if tls is None else tls_context(tls, f"{trail}.tls"),
        server_name=None if tls is None else tls.server_name,
        connect_timeout_s=bus.connect_timeout_s,
        silence_s=silence_s,
    )
