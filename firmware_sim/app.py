"""The wiring: a fleet becomes endpoints that run until they are told to stop."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from firmware_sim import chance
from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.errors import SimulatorError
from firmware_sim.fleet import Fleet, ModbusSpec, MqttMeterSpec, MqttSpec
from firmware_sim.journal import Journal
from firmware_sim.meter import Meter
from firmware_sim.modbus import ModbusEndpoint, Unit
from firmware_sim.models import MODBUS_MODELS
from firmware_sim.mqtt import MqttEndpoint, Publisher

_ENERGY_INTERVAL_S = 10.0
_SPREAD = 20


class _Stopped(Exception):
    """Ends the task group: the simulator was asked to stop."""


async def run(fleet: Fleet, journal: Journal, *, stop: asyncio.Event, ready: Callable[[list[int]], None]) -> None:
    """Serves and publishes until `stop` is set; calls `ready` with the Modbus ports once everything is up.

    Raises EndpointError or JournalError.
    """
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_serve(fleet, journal, ready), name="endpoints")
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


async def _serve(fleet: Fleet, journal: Journal, ready: Callable[[list[int]], None]) -> None:
    """Until cancelled: a cancellation leaves the endpoints one by one, which flushes what is under way."""
    async with AsyncExitStack() as stack:
        modbus = [await stack.enter_async_context(_modbus_endpoint(fleet.seed, spec, journal)) for spec in fleet.modbus]
        mqtt = [
            await stack.enter_async_context(_mqtt_endpoint(fleet.seed, number, spec, journal))
            for number, spec in enumerate(fleet.mqtt)
        ]
        ready([endpoint.port for endpoint in modbus])
        async with asyncio.TaskGroup() as group:
            for endpoint in modbus:
                group.create_task(endpoint.wait_failed(), name=f"modbus {endpoint.host}:{endpoint.port}")
            for publishing in mqtt:
                group.create_task(publishing.run(), name=f"mqtt {publishing.host}:{publishing.port}")


def _modbus_endpoint(seed: int, spec: ModbusSpec, journal: Journal) -> ModbusEndpoint:
    units = {
        meter.unit: Unit(
            meter=Meter(
                seed=seed,
                name=meter.name,
                peak_w=meter.peak_w,
                pv_peak_w=meter.pv_peak_w,
                phases=meter.phases,
                utc_offset_s=round(meter.utc_offset_h * 3600),
            ),
            registers=MODBUS_MODELS[meter.model],
            journal=journal,
        )
        for meter in spec.meter
    }
    return ModbusEndpoint(host=spec.host, port=spec.port, units=units)


def _mqtt_endpoint(seed: int, number: int, spec: MqttSpec, journal: Journal) -> MqttEndpoint:
    publishers = [publisher for meter in spec.meter for publisher in _publishers(seed, meter)]
    client_id = f"segs-sim-{number}-{os.getpid()}"
    return MqttEndpoint(host=spec.host, port=spec.port, client_id=client_id, publishers=publishers, journal=journal)


def _publishers(seed: int, spec: MqttMeterSpec) -> list[Publisher]:
    dialect = MQTT_DIALECTS[spec.model]()
    meter = Meter(
        seed=seed,
        name=spec.name,
        peak_w=spec.peak_w,
        pv_peak_w=spec.pv_peak_w,
        phases=dialect.phases,
        utc_offset_s=round(spec.utc_offset_h * 3600),
    )
    interval_us = round(spec.interval_s * 1e6)
    # A few distinct delays, so that hundreds of meters share a few wake-ups.
    slot = chance.between(chance.key(seed, spec.name, "delay"), 0, 0, _SPREAD - 1)
    delay_us = slot * min(interval_us, 10**6) // _SPREAD
    at = partial(Publisher, meter, delay_us=delay_us)
    power = at(compose=dialect.messages, interval_us=interval_us)
    if not dialect.energy_apart:
        return [power]
    energy_interval_us = round((spec.energy_interval_s or _ENERGY_INTERVAL_S) * 1e6)
    # Half an interval apart, so that power and energy never state the same instant.
    return [power, at(compose=dialect.energy_messages, interval_us=energy_interval_us, offset_us=interval_us // 2)]
