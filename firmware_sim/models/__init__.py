"""Register maps of meters, one model per file, each from its datasheet."""

from firmware_sim.models import abb_b23, eastron_sdm630, schneider_iem3155
from firmware_sim.register_map import RegisterMap

MODBUS_MODELS: dict[str, RegisterMap] = {
    "eastron-sdm630": eastron_sdm630.MAP,
    "abb-b23": abb_b23.MAP,
    "schneider-iem3155": schneider_iem3155.MAP,
}
