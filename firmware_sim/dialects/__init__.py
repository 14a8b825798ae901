"""What kinds of MQTT meters say, one kind a file; `dialect.py` is what each must be."""

from functools import cache

from firmware_sim.dialects.dialect import Dialect
from firmware_sim.dialects.dsmr import Dsmr, DsmrJson, P1Json
from firmware_sim.dialects.esphome import EspHome
from firmware_sim.dialects.shelly_gen1 import ShellyGen1, ShellyGen1Info, ShellyGen1Plug
from firmware_sim.dialects.shelly_gen2 import (
    ShellyGen2,
    ShellyGen2Em1,
    ShellyGen2Status,
    ShellyGen2Switch,
    ShellyGen3Pm1,
)
from firmware_sim.dialects.sparkplug_b import SparkplugB
from firmware_sim.dialects.tasmota import Tasmota, TasmotaDual, TasmotaSml, TasmotaTeleinfo, TasmotaThreePhases
from firmware_sim.dialects.zigbee2mqtt import Zigbee2Mqtt
from firmware_sim.load import INSTALLED_S
from firmware_sim.meter import Meter

MQTT_DIALECTS: dict[str, type[Dialect]] = {
    "tasmota": Tasmota,
    "tasmota-dual": TasmotaDual,
    "tasmota-three-phase": TasmotaThreePhases,
    "tasmota-sml": TasmotaSml,
    "tasmota-teleinfo": TasmotaTeleinfo,
    "shelly-gen1": ShellyGen1,
    "shelly-gen1-info": ShellyGen1Info,
    "shelly-gen1-plug": ShellyGen1Plug,
    "shelly-gen2": ShellyGen2,
    "shelly-gen2-status": ShellyGen2Status,
    "shelly-gen2-em1": ShellyGen2Em1,
    "shelly-gen2-switch": ShellyGen2Switch,
    "shelly-gen3-pm1": ShellyGen3Pm1,
    "zigbee2mqtt": Zigbee2Mqtt,
    "esphome": EspHome,
    "dsmr": Dsmr,
    "dsmr-json": DsmrJson,
    "dsmr-p1": P1Json,
    "sparkplug-b": SparkplugB,
}


@cache
def quantities(model: str) -> frozenset[str]:
    """What a meter of `model` tells, by canonical name."""
    dialect = MQTT_DIALECTS[model]()
    meter = Meter(seed=1, name=model, peak_w=1000, phases=dialect.phases)
    t_us = INSTALLED_S * 10**6
    said = (*dialect.messages(meter, t_us), *dialect.energy_messages(meter, t_us))
    told = [values for message in said for values in (message.values, *message.channels.values())]
    return frozenset(name for values in told for name in values)
