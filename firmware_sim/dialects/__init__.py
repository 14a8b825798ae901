"""What kinds of MQTT meters say, one kind a file; `dialect.py` is what each must be."""

from firmware_sim.dialects.dialect import Dialect
from firmware_sim.dialects.shelly_gen2 import ShellyGen2
from firmware_sim.dialects.tasmota import Tasmota

MQTT_DIALECTS: dict[str, type[Dialect]] = {
    "tasmota": Tasmota,
    "shelly-gen2": ShellyGen2,
}
