"""A fleet of simulated meters and the gateway that reads them, as the files that `segs-sim` and `segs-edge` take."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from types import MappingProxyType

ZONES = {"north": "Europe/Berlin", "south": "Europe/Athens"}
"""Regions, and the zones of their meters; UTC in others."""
_MODBUS_MODELS = ("eastron-sdm630", "abb-b23", "schneider-iem3155")
_MQTT_MODELS = ("tasmota", "shelly-gen2")
_PEAKS_W = (3000, 6000, 4500, 9000, 2000)


@dataclass(frozen=True, slots=True)
class Meter:
    """One simulated meter; `name` is its device key at the gateway as well."""

    name: str
    model: str
    peak_w: int
    region: str

    @property
    def feeds_in(self) -> bool:
        """Whether there are photovoltaics behind it."""
        return self.model == "shelly-gen2"

    @property
    def rated_power_w(self) -> float:
        """What its connection is rated for: half as much again as ever flows."""
        return 1.5 * self.peak_w


@dataclass(frozen=True, slots=True)
class Fleet:
    """Modbus meters, some behind one endpoint each, and MQTT meters behind one broker; all read every `interval_s`."""

    modbus: tuple[tuple[Meter, ...], ...]
    mqtt: tuple[Meter, ...]
    interval_s: float
    seed: int
    timeout_s: float = 1.0

    @property
    def meters(self) -> list[Meter]:
        return [meter for endpoint in self.modbus for meter in endpoint] + list(self.mqtt)

    def write(
        self,
        folder: Path,
        ports: "Ports",
        *,
        name: str,
        commit_interval_s: float,
        settings: Mapping[str, Mapping[str, str | float]] = MappingProxyType({}),
    ) -> None:
        """fleet.toml, gateway.toml and devices.csv in `folder`, which exists.

        `settings` go over what the gateway's configuration has, by table and key.
        """
        (folder / "fleet.toml").write_text(self._simulator(ports))
        (folder / "gateway.toml").write_text(self._gateway(folder, ports, name, commit_interval_s, settings))
        with (folder / "devices.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["device", "model", "region", "timezone", "interval_ms", "max_power_w"])
            for meter in self.meters:
                zone = ZONES.get(meter.region, "UTC")
                rows.writerow([meter.name, meter.model, meter.region, zone, int(self.interval_s * 1000), 100_000])

    def _simulator(self, ports: "Ports") -> str:
        lines = [f"seed = {self.seed}"]
        for port, endpoint in zip(ports.modbus, self.modbus, strict=True):
            lines += ["[[modbus]]", 'host = "127.0.0.1"', f"port = {port}"]
            for unit, meter in enumerate(endpoint, start=1):
                lines += ["[[modbus.meter]]", *_named(meter), f"unit = {unit}", f"peak_w = {meter.peak_w}"]
        lines += ["[[mqtt]]", 'host = "127.0.0.1"', f"port = {ports.broker}"]
        for meter in self.mqtt:
            lines += ["[[mqtt.meter]]", *_named(meter), f"interval_s = {self.interval_s}", f"peak_w = {meter.peak_w}"]
            if meter.feeds_in:
                lines += ["pv_peak_w = 1500", f"energy_interval_s = {5 * self.interval_s}"]
        return "\n".join(lines) + "\n"

    def _gateway(
        self,
        folder: Path,
        ports: "Ports",
        name: str,
        commit_interval_s: float,
        settings: Mapping[str, Mapping[str, str | float]],
    ) -> str:
        tables: dict[str, dict[str, str | float]] = {
            "gateway": {"name": name, "data_dir": str(folder / "gateway")},
            "uplink": {"url": f"http://127.0.0.1:{ports.receiver}", "key_file": str(folder / "gateway.key")},
            "buffer": {"commit_interval_s": commit_interval_s},
            "metrics": {"port": ports.edge_metrics},
        }
        lines = []
        for table, keys in tables.items():
            # JSON's strings and numbers are TOML's.
            lines += [f"[{table}]", *(f"{k} = {json.dumps(v)}" for k, v in {**keys, **settings.get(table, {})}.items())]
        for port, endpoint in zip(ports.modbus, self.modbus, strict=True):
            lines += ["[[modbus]]", 'host = "127.0.0.1"', f"port = {port}"]
            for unit, meter in enumerate(endpoint, start=1):
                lines += ["[[modbus.device]]", f'id = "{meter.name}"', f"unit = {unit}", f'profile = "{meter.model}"']
                lines += [f"interval_s = {self.interval_s}", f"timeout_s = {self.timeout_s}"]
        lines += ["[[mqtt]]", 'host = "127.0.0.1"', f"port = {ports.broker}", f'client_id = "segs-{name}"']
        for meter in self.mqtt:
            lines += ["[[mqtt.device]]", f'id = "{meter.name}"', f'profile = "{meter.model}"']
            lines += [f'topic = "{_topic(meter)}"', f"interval_s = {self.interval_s}"]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one stack; one Modbus port for each endpoint of the fleet."""

    modbus: Sequence[int]
    broker: int
    receiver: int
    worker_metrics: int
    edge_metrics: int
    api: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def build(
    *, modbus: int, mqtt: int, per_endpoint: int = 3, interval_s: float = 1.0, seed: int = 7, timeout_s: float = 1.0
) -> Fleet:
    """`modbus` meters on endpoints of at most `per_endpoint` units, and `mqtt` meters, of every model in turn.

    A line with an SDM630 is silent for 60 ms before each request: three meters are read in 0.6 s, eight in no second.
    """
    peaks, regions = cycle(_PEAKS_W), cycle(ZONES)

    def meters(models: tuple[str, ...], count: int) -> list[Meter]:
        return [
            Meter(f"{model}-{number:02}", model, next(peaks), next(regions))
            for number, model in enumerate(islice(cycle(models), count), start=1)
        ]

    on_buses = meters(_MODBUS_MODELS, modbus)
    endpoints = tuple(tuple(on_buses[start : start + per_endpoint]) for start in range(0, len(on_buses), per_endpoint))
    return Fleet(endpoints, tuple(meters(_MQTT_MODELS, mqtt)), interval_s, seed, timeout_s)


def _named(meter: Meter) -> list[str]:
    return [f'name = "{meter.name}"', f'model = "{meter.model}"']


def _topic(meter: Meter) -> str:
    return f"tele/{meter.name}/SENSOR" if meter.model == "tasmota" else f"{meter.name}/events/rpc"
