"""Both ends of the wire: what the gateway's drivers make of the simulated meters, by the proof's own comparison."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from paho.mqtt import publish

from contract.batch import Flag
from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import tcp_line
from edge.drivers.mqtt.broker import BrokerClient
from edge.drivers.mqtt.connection import Login
from edge.drivers.mqtt.device import MqttDevice
from edge.frames import Frame
from edge.profiles import catalog
from edge.profiles.modbus import sunspec
from edge.profiles.payload.settings import DeviceField, DeviceFields
from edge.reading import Delivery, Reading
from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.models import MODBUS_MODELS
from local.proof.compare import Findings, compare
from local.proof.stored import Row, as_stored
from local.proof.truth import Served, read
from local.servers import MosquittoBroker

# Each model twice: a household that exports, by all of its phases, and one that does not, by one.
MODELS = {f"{model}-{kind}": (model, kind) for model in sorted(MODBUS_MODELS) for kind in ("sunny", "plain")}

# Of each dialect the profile that reads it, and the topic filter of a meter.
TOPICS: dict[str, tuple[str, str]] = {
    "tasmota": ("tasmota", "tele/{}/SENSOR"),
    "tasmota-dual": ("tasmota", "tele/{}/SENSOR"),
    "tasmota-three-phase": ("tasmota", "tele/{}/SENSOR"),
    "tasmota-sml": ("tasmota", "tele/{}/SENSOR"),
    "tasmota-teleinfo": ("tasmota", "tele/{}/SENSOR"),
    "shelly-gen1": ("shelly-gen1", "shellies/{}/#"),
    "shelly-gen1-info": ("shelly-gen1", "shellies/{}/info"),
    "shelly-gen1-plug": ("shelly-gen1", "shellies/{}/#"),
    "shelly-gen2": ("shelly-gen2", "{}/events/rpc"),
    "shelly-gen2-status": ("shelly-gen2", "{}/status/#"),
    "shelly-gen2-em1": ("shelly-gen2", "{}/events/rpc"),
    "shelly-gen2-switch": ("shelly-gen2", "{}/status/switch:0"),
    "shelly-gen3-pm1": ("shelly-gen2", "{}/status/pm1:0"),
    "zigbee2mqtt": ("zigbee2mqtt", "zigbee2mqtt/{}"),
    "esphome": ("esphome", "{}/#"),
    "dsmr": ("dsmr", "{}/dsmr/reading/#"),
    "dsmr-json": ("dsmr", "{}/dsmr/json"),
    "dsmr-p1": ("dsmr", "{}/p1"),
    "sparkplug-b": ("sparkplug-b", "spBv1.0/segs-sim/+/{}/#"),
}
# An ESPHome topic does not say its unit: who writes the configuration does.
FIELDS = {
    "esphome": DeviceFields(
        fields=(
            DeviceField(quantity="energy_import_wh", path="import_active_energy", scale=1000),
            DeviceField(quantity="energy_export_wh", path="export_active_energy", scale=1000),
        )
    )
}
CHANNELS = {"tasmota-dual": 2}


def _at_noon() -> str:
    """The hours by which a household's day is moved for it to be noon there."""
    now = datetime.now(UTC)
    return f"{12 - now.hour - now.minute / 60:.3f}"


def _modbus_fleet() -> str:
    meters = [
        f'[[modbus.meter]]\nname = "{name}"\nmodel = "{model}"\nunit = {unit}\n'
        + (f"pv_peak_w = 12000\nutc_offset_h = {_at_noon()}\n" if kind == "sunny" else "phases = 1\n")
        for unit, (name, (model, kind)) in enumerate(MODELS.items(), 1)
    ]
    return "seed = 7\n[[modbus]]\nport = 0\n" + "".join(meters)


def _mqtt_fleet(port: int) -> str:
    meters = []
    for name, dialect in MQTT_DIALECTS.items():
        meters.append(f'[[mqtt.meter]]\nname = "{name}"\nmodel = "{name}"\ninterval_s = 2.0\n')
        if dialect.energy_apart:
            meters.append("energy_interval_s = 2.0\n")
        if dialect.exports:
            meters.append(f"pv_peak_w = 12000\nutc_offset_h = {_at_noon()}\n")
    return f"seed = 7\n[[mqtt]]\nport = {port}\n" + "".join(meters)


class Kept:
    """A sink that keeps readings as the database would."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.rejected: list[str] = []

    def put(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int,
        deliveries: Sequence[Delivery] = (),
        frames: Sequence[Frame] = (),
    ) -> asyncio.Future[None]:
        for reading in readings:
            values = {name: as_stored(name, value) for name, value in reading.values.items()}
            row = Row(reading.time_us, bool(reading.flags & Flag.TIME_FROM_DEVICE), values)
            self.rows.setdefault(reading.device, []).append(row)
        return self._done()

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        self.rejected.append(f"{topic}: {reason}")
        return self._done()

    def committed(self, delivery: Delivery) -> bool:
        return False

    def hurry(self) -> None:
        pass

    def _done(self) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def _wrong(found: dict[str, Findings], *, at_least: int) -> dict[str, object]:
    """What is wrong with each meter of which something is."""
    counts = ("lost", "duplicated", "altered", "foreign", "partial", "unmapped")
    wrong: dict[str, object] = {}
    for meter, findings in found.items():
        said: dict[str, object] = {name: count for name in counts if (count := getattr(findings, name))}
        if findings.stored < at_least:
            said["stored"] = findings.stored
        if said:
            wrong[meter] = said | {"examples": findings.examples[:1]}
    return wrong


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for happens in another process and has no event
        await asyncio.sleep(0.05)


def _device(name: str, unit: int, model: str) -> ModbusDevice:
    if model.startswith("sunspec"):
        return ModbusDevice(id=name, unit=unit, discover=sunspec.discover, interval_s=1.0, timeout_s=2.0)
    return ModbusDevice(id=name, unit=unit, profile=catalog.modbus(model), interval_s=1.0, timeout_s=2.0)


async def test_every_modbus_model_is_read_without_a_fault(start_simulator) -> None:
    """E5, E6, E8: two register maps, written apart, agree on every value: signs, phases that are not there, exports."""
    simulator = start_simulator(_modbus_fleet())
    port = simulator.ready()["modbus_ports"][0]
    kept, stop = Kept(), asyncio.Event()
    devices = [_device(name, unit, model) for unit, (name, (model, _)) in enumerate(MODELS.items(), 1)]
    line = tcp_line(host="127.0.0.1", port=port, connect_timeout_s=2.0)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(ModbusBus(line=line, devices=devices, sink=kept, clock=Clock()).run(stop))
        await _until(lambda: all(len(kept.rows.get(name, [])) >= 3 for name in MODELS))
        stop.set()
    found = {meter: compare(served, kept.rows[meter]) for meter, served in read(simulator.journal).items()}
    assert found.keys() == MODELS.keys()
    assert _wrong(found, at_least=3) == {}
    for name, (_, kind) in MODELS.items():
        last = kept.rows[name][-1].values
        assert (last["power_w"] < 0) == (kind == "sunny"), name
        assert (last.get("energy_export_wh", 0) > 0) == (kind == "sunny"), name


@pytest.mark.parametrize("model", catalog.names("modbus"))
def test_a_profile_reads_all_that_its_simulated_meter_has_and_nothing_else(model: str) -> None:
    assert {row.quantity for row in catalog.modbus(model).registers} == MODBUS_MODELS[model].quantities


async def test_every_mqtt_dialect_is_read_without_a_fault(broker: MosquittoBroker, start_simulator) -> None:
    """E15: times, units, channels and resolutions of the payloads."""
    kept, stop = Kept(), asyncio.Event()
    devices = {
        name: MqttDevice(
            id=name,
            topic=topic.format(name),
            profile=catalog.mqtt(profile),
            interval_s=2.0,
            zone=UTC,
            channels=CHANNELS.get(name, 1),
            fields=FIELDS.get(name),
        )
        for name, (profile, topic) in TOPICS.items()
    }
    assert devices.keys() == MQTT_DIALECTS.keys()
    last = MqttDevice(id="last", topic="last", profile=catalog.mqtt("zigbee2mqtt"), interval_s=2.0, zone=UTC)
    login = Login(host="127.0.0.1", port=broker.port, client_id="gw")
    bus = BrokerClient(login=login, devices=[*devices.values(), last], sink=kept, clock=Clock())
    async with asyncio.timeout(60), bus, asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        await _until(lambda: bus.state.connected)
        simulator = start_simulator(_mqtt_fleet(broker.port))
        await _until(lambda: len(kept.rows.get("dsmr", [])) >= 3)
        assert await asyncio.to_thread(simulator.stop) == (0, "")
        # The broker has all of theirs, so that this comes after it.
        await asyncio.to_thread(publish.single, "last", b'{"energy": 1}', 1, hostname="127.0.0.1", port=broker.port)
        await _until(lambda: "last" in kept.rows and not any(device.gathering.open for device in devices.values()))
        stop.set()
    assert kept.rejected == []
    told = read(simulator.journal)
    meters = {f"{name}/{n}" for name, count in CHANNELS.items() for n in range(1, count + 1)}
    assert told.keys() == TOPICS.keys() - CHANNELS.keys() | meters
    found = {
        meter: compare(
            _gathered(served, devices[meter.partition("/")[0]].profile.gather_ms / 1000), kept.rows.get(meter, [])
        )
        for meter, served in told.items()
    }
    assert _wrong(found, at_least=2) == {}


def _gathered(served: Sequence[Served], gather_s: float) -> list[Served]:
    """Of a meter that publishes each number by itself, what it told within `gather_s` as one."""
    whole: list[Served] = []
    for message in served:
        if whole and message.t_us - whole[-1].t_us < gather_s * 1e6:
            whole[-1].values |= message.values
        else:
            whole.append(message)
    return whole
