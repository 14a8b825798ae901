"""The wiring: a fleet becomes endpoints that run until they are told to stop."""

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_sim import chance
from firmware_sim.clock import now_us
from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.errors import EndpointError, MissingLibrary, SimulatorError
from firmware_sim.faults.control import Control, Target
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.kinds import KINDS
from firmware_sim.fleet import ENERGY_INTERVAL_S, Fleet, ModbusMeterSpec, ModbusSpec, MqttMeterSpec, MqttSpec, TlsSpec
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.modbus.endpoint import Endpoint
from firmware_sim.modbus.framing import RtuFraming, TcpFraming
from firmware_sim.modbus.pty import PtyEndpoint
from firmware_sim.modbus.tcp import TcpEndpoint
from firmware_sim.modbus.unit import Unit, Units
from firmware_sim.models import MODBUS_MODELS, SINGLE_PHASE
from firmware_sim.mqtt.publisher import Publisher, Schedule

if TYPE_CHECKING:
    from firmware_sim.mqtt.endpoint import MqttEndpoint

_SPREAD = 20
Ports = list[int | None]


class _Stopped(Exception):
    """Ends the task group: the simulator was asked to stop."""


async def run(
    fleet: Fleet, journal: Journal, *, stop: asyncio.Event, ready: Callable[[Ports], None], control: Path | None = None
) -> None:
    """Serves and publishes until `stop` is set; calls `ready` once everything is up.

    `ready` gets the port of every Modbus endpoint, None for a pseudo-terminal. Raises EndpointError, ControlError or
    JournalError.
    """
    field = _Field(fleet, journal)
    async with AsyncExitStack() as stack:
        if control is not None:
            await stack.enter_async_context(Control(path=control, targets=field.targets))
        await serve(field.modbus, field.mqtt, stop=stop, ready=ready)


async def serve(
    modbus: Sequence[Endpoint],
    mqtt: Sequence["MqttEndpoint"] = (),
    *,
    stop: asyncio.Event,
    ready: Callable[[Ports], None],
) -> None:
    """Enters and runs the endpoints until `stop` is set. Raises EndpointError or JournalError."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_serve(modbus, mqtt, ready), name="endpoints")
            await stop.wait()
            raise _Stopped
    except* _Stopped:
        pass
    except* SimulatorError as failed:
        raise _first(failed) from failed


def _first(group: BaseExceptionGroup[SimulatorError]) -> SimulatorError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SimulatorError)
    return error


async def _serve(modbus: Sequence[Endpoint], mqtt: Sequence["MqttEndpoint"], ready: Callable[[Ports], None]) -> None:
    """Until cancelled: a cancellation leaves the endpoints one by one, which flushes what is under way."""
    async with AsyncExitStack() as stack:
        for endpoint in modbus:
            await stack.enter_async_context(endpoint)
        for connection in mqtt:
            await stack.enter_async_context(connection)
        ready([endpoint.port for endpoint in modbus])
        async with asyncio.TaskGroup() as group:
            for endpoint in modbus:
                group.create_task(endpoint.run(), name=f"modbus {endpoint.place}")
            for connection in mqtt:
                group.create_task(connection.run(), name=f"mqtt {connection.place}")


class _Field:
    """The endpoints of a fleet, and by meter's name what faults can be injected into."""

    def __init__(self, fleet: Fleet, journal: Journal) -> None:
        self._seed, self._journal, self._start_us = fleet.seed, journal, now_us()
        self.targets: dict[str, Target] = {}
        self.modbus = [self._endpoint(number, spec) for number, spec in enumerate(fleet.modbus)]
        self.mqtt = [endpoint for number, spec in enumerate(fleet.mqtt) for endpoint in self._connections(number, spec)]

    def _faults(self, name: str) -> Faults:
        return Faults(seed=self._seed, name=name)

    def _endpoint(self, number: int, spec: ModbusSpec) -> Endpoint:
        of_endpoint = self._faults(f"endpoint {number}")
        for fault in spec.fault:
            of_endpoint.add(fault, start_us=self._start_us)
        units = Units({meter.unit: self._unit(spec, meter, of_endpoint) for meter in spec.meter})
        silence_s = spec.silence_ms / 1000
        if spec.pty is not None:
            return PtyEndpoint(path=spec.pty, bus=units, baud_rate=spec.baud_rate, silence_s=silence_s)
        assert spec.port is not None
        return TcpEndpoint(
            host=spec.host,
            port=spec.port,
            bus=units,
            framing=RtuFraming if spec.transport == "rtu-over-tcp" else TcpFraming,
            faults=of_endpoint,
            tls=_tls(spec.tls) if spec.tls else None,
            silence_s=silence_s,
        )

    def _unit(self, spec: ModbusSpec, meter: ModbusMeterSpec, of_endpoint: Faults) -> Unit:
        faults = self._faults(meter.name)
        for fault in meter.fault:
            to = of_endpoint if KINDS[fault.kind].scope == "endpoint" else faults
            to.add(fault, start_us=self._start_us)
        refuses = partial(meter.refusal, transport=spec.transport)
        self.targets[meter.name] = Target(meter=faults, endpoint=of_endpoint, refuses=refuses)
        simulated = Meter(
            seed=self._seed,
            name=meter.name,
            peak_w=meter.peak_w,
            pv_peak_w=meter.pv_peak_w,
            phases=meter.phases or (1 if meter.model in SINGLE_PHASE else 3),
            utc_offset_s=round(meter.utc_offset_h * 3600),
        )
        registers = MODBUS_MODELS[meter.model]
        return Unit(number=meter.unit, meter=simulated, registers=registers, journal=self._journal, faults=faults)

    def _connections(self, number: int, spec: MqttSpec) -> list["MqttEndpoint"]:
        """One for the meters that share a connection, and one for each that does not. Raises MissingLibrary."""
        try:
            # Here, so that Modbus meters run without it.
            from firmware_sim.mqtt.endpoint import MqttEndpoint
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "paho":
                raise
            raise MissingLibrary(name="paho-mqtt", needed_by="meters on MQTT") from error
        shared: list[Publisher] = []
        connections = []
        for meter in spec.meter:
            publisher = self._publisher(meter)
            if meter.own_connection or publisher.dialect.own_connection:
                connections.append([publisher])
            else:
                shared.append(publisher)
        if shared:
            connections.insert(0, shared)
        return [
            MqttEndpoint(
                host=spec.host,
                port=spec.port,
                client_id=f"segs-sim-{number}-{index}-{os.getpid()}",
                publishers=publishers,
                journal=self._journal,
            )
            for index, publishers in enumerate(connections)
        ]

    def _publisher(self, spec: MqttMeterSpec) -> Publisher:
        faults, dialect = self._faults(spec.name), MQTT_DIALECTS[spec.model]()
        for fault in spec.fault:
            faults.add(fault, start_us=self._start_us)
        self.targets[spec.name] = Target(meter=faults, endpoint=None, refuses=partial(spec.refusal, transport="mqtt"))
        meter = Meter(
            seed=self._seed,
            name=spec.name,
            peak_w=spec.peak_w,
            pv_peak_w=spec.pv_peak_w,
            phases=dialect.phases,
            utc_offset_s=round(spec.utc_offset_h * 3600),
        )
        interval_us = round(spec.interval_s * 1e6)
        # A few distinct delays, so that hundreds of meters share a few wake-ups.
        slot = chance.between(chance.key(self._seed, spec.name, "delay"), 0, 0, _SPREAD - 1)
        at = partial(Schedule, delay_us=slot * min(interval_us, 10**6) // _SPREAD)
        schedules = [at(dialect.messages, interval_us)]
        if dialect.energy_apart:
            energy_interval_us = round((spec.energy_interval_s or ENERGY_INTERVAL_S) * 1e6)
            # Half an interval apart, so that power and energy never state the same instant.
            schedules.append(at(dialect.energy_messages, energy_interval_us, offset_us=interval_us // 2))
        return Publisher(meter=meter, dialect=dialect, schedules=schedules, faults=faults)


def _tls(spec: TlsSpec) -> ssl.SSLContext:
    """A server's context. Raises EndpointError when the files are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(spec.certificate_file, spec.key_file)
        if spec.ca_file is not None:
            context.load_verify_locations(spec.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        todo = "name PEM files of a certificate and its key in the fleet file"
        raise EndpointError(place=str(spec.certificate_file), found=str(error), todo=todo) from error
    return context
