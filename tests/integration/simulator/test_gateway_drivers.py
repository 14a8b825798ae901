"""Both ends of the wire: what the gateway's drivers make of the simulated meters, by the proof's own comparison."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path

import pytest

from contract.batch import Flag
from contract.quantities import BY_NAME
from edge.clock import Clock
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.line import tcp_line
from edge.drivers.mqtt.broker import MqttBus
from edge.drivers.mqtt.connection import Login
from edge.drivers.mqtt.device import MqttDevice
from edge.profiles import catalog
from edge.reading import Delivery, Reading
from local.proof.compare import Findings, compare
from local.proof.stored import Row, as_stored
from local.proof.truth import read
from local.servers import MosquittoBroker

MODELS = {
    f"{model}-{phases}": (model, phases)
    for model in ("eastron-sdm630", "abb-b23", "schneider-iem3155")
    for phases in (1, 3)
}
MODBUS_FLEET = "seed = 7\n[[modbus]]\nport = 0\n" + "".join(
    f'[[modbus.meter]]\nname = "{name}"\nmodel = "{model}"\nunit = {unit}\nphases = {phases}\n'
    f"pv_peak_w = {4000 if phases == 3 else 0}\n"
    for unit, (name, (model, phases)) in enumerate(MODELS.items(), 1)
)
# Each hits a fifth of the requests to its meter, on a connection of its own.
SPOILT = {
    "tcp": ("timeout", "late", "wrong-unit", "wrong-transaction", "truncate", "garbage", "exception", "close", "nan"),
    "rtu-over-tcp": ("late", "wrong-unit", "crc", "truncate", "garbage"),
}
MQTT_FLEET = """
seed = 7
[[mqtt]]
port = {port}
[[mqtt.meter]]
name = "plug"
model = "tasmota"
interval_s = 1.0
[[mqtt.meter]]
name = "house"
model = "shelly-gen2"
interval_s = 0.2
energy_interval_s = 0.4
pv_peak_w = 3000
"""


class Kept:
    """A sink that keeps readings as the database would."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.rejected: list[str] = []

    def put(self, readings: Sequence[Reading], *, deliveries: Sequence[Delivery] = ()) -> asyncio.Future[None]:
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


def _compared(journal: Path, kept: Kept) -> dict[str, Findings]:
    return {meter: compare(served, kept.rows.get(meter, [])) for meter, served in read(journal).items()}


def _faults(findings: Findings) -> tuple[int, ...]:
    return (findings.lost, findings.duplicated, findings.altered, findings.foreign, findings.partial)


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for happens in another process and has no event
        await asyncio.sleep(0.05)


async def test_every_modbus_model_is_read_without_a_fault(start_simulator) -> None:
    """E5, E6, E8: two register maps, written apart, agree on every value, single-phase meters included."""
    simulator = start_simulator(MODBUS_FLEET)
    port = simulator.ready()["modbus_ports"][0]
    kept, stop = Kept(), asyncio.Event()
    devices = [
        ModbusDevice(id=name, unit=unit, profile=catalog.modbus(model), interval_s=0.2, timeout_s=2.0)
        for unit, (name, (model, _)) in enumerate(MODELS.items(), 1)
    ]
    line = tcp_line(host="127.0.0.1", port=port, connect_timeout_s=2.0)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(ModbusBus(line=line, devices=devices, sink=kept, clock=Clock()).run(stop))
        await asyncio.sleep(3)
        stop.set()
    found = _compared(simulator.journal, kept)
    assert found.keys() == MODELS.keys()
    for name, findings in found.items():
        assert findings.stored >= 10, name
        assert _faults(findings) == (0, 0, 0, 0, 0), (name, findings.examples)
        assert findings.unmapped == [], name


@pytest.mark.parametrize("transport", SPOILT)
async def test_a_spoilt_reply_is_never_taken_for_a_reading(start_simulator, transport: str) -> None:
    """E4, E5, E6, E11: whatever the line does, what is stored was served, at that time, under that name."""
    fleet = "seed = 7\n" + "".join(
        f'[[modbus]]\ntransport = "{transport}"\nport = 0\n[[modbus.meter]]\nname = "{kind}"\nunit = 1\n'
        f'model = "eastron-sdm630"\n[[modbus.meter.fault]]\nkind = "{kind}"\nshare = 0.2\n'
        for kind in SPOILT[transport]
    ).replace('kind = "late"', 'kind = "late"\ndelay_s = 0.25')
    simulator = start_simulator(fleet)
    kept, stop = Kept(), asyncio.Event()
    framing = "tcp" if transport == "tcp" else "rtu"
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        for kind, port in zip(SPOILT[transport], simulator.ready()["modbus_ports"], strict=True):
            profile = catalog.modbus("eastron-sdm630")
            device = ModbusDevice(id=kind, unit=1, profile=profile, interval_s=0.2, timeout_s=0.2)
            line = tcp_line(host="127.0.0.1", port=port, framing=framing, connect_timeout_s=2.0)
            group.create_task(ModbusBus(line=line, devices=[device], sink=kept, clock=Clock()).run(stop))
        async with asyncio.timeout(30):
            await _until(lambda: all(len(kept.rows.get(kind, [])) >= 3 for kind in SPOILT[transport]))
        stop.set()
    served = {
        (line["meter"], quantity, as_stored(quantity, BY_NAME[quantity].canonical(value)))
        for line in simulator.lines()
        for quantity, value in line["values"].items()
    }
    stored = {
        (kind, quantity, value)
        for kind, rows in kept.rows.items()
        for row in rows
        for quantity, value in row.values.items()
    }
    assert stored
    assert stored - served == set()


async def test_every_mqtt_model_is_read_without_a_fault(broker: MosquittoBroker, start_simulator) -> None:
    """E15: times, units and resolutions of the payloads."""
    kept, stop = Kept(), asyncio.Event()
    topics = {"plug": ("tasmota", "tele/plug/SENSOR"), "house": ("shelly-gen2", "house/events/rpc")}
    devices = [
        MqttDevice(id=name, topic=topic, profile=catalog.mqtt(model), interval_s=1.0, zone=UTC)
        for name, (model, topic) in topics.items()
    ]
    login = Login(host="127.0.0.1", port=broker.port, client_id="gw")
    bus = MqttBus(login=login, devices=devices, sink=kept, clock=Clock())
    async with asyncio.timeout(60), bus, asyncio.TaskGroup() as group:
        group.create_task(bus.run(stop))
        await _until(lambda: bus.state.connected)
        simulator = start_simulator(MQTT_FLEET.format(port=broker.port))
        await _until(lambda: len(kept.rows.get("plug", [])) >= 4)
        assert await asyncio.to_thread(simulator.stop) == (0, "")
        await _until(lambda: bus.state.messages >= len(simulator.lines()))
        stop.set()
    assert kept.rejected == []
    for name, findings in _compared(simulator.journal, kept).items():
        assert findings.stored >= 4, name
        assert _faults(findings) == (0, 0, 0, 0, 0), (name, findings.examples)
        assert findings.unmapped == []
