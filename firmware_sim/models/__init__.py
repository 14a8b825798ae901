"""Register maps of meters, one model per file, each from its datasheet."""

from firmware_sim.models import (
    abb_a43,
    abb_b21,
    abb_b23,
    abb_b24,
    carlo_gavazzi_em24,
    carlo_gavazzi_em24_e1,
    carlo_gavazzi_em330,
    carlo_gavazzi_em340,
    chint_dtsu666,
    eastron_sdm54,
    eastron_sdm72,
    eastron_sdm120,
    eastron_sdm220,
    eastron_sdm230,
    eastron_sdm630,
    inepro_pro380,
    janitza_b23,
    janitza_umg96,
    janitza_umg604,
    orno_we517,
    schneider_iem3155,
    schneider_pm5100,
    schneider_pm5300,
    siemens_pac2200,
    siemens_pac3200,
    sunspec,
)
from firmware_sim.register_map import RegisterMap

MODBUS_MODELS: dict[str, RegisterMap] = {
    "eastron-sdm54": eastron_sdm54.MAP,
    "eastron-sdm72": eastron_sdm72.MAP,
    "eastron-sdm120": eastron_sdm120.MAP,
    "eastron-sdm220": eastron_sdm220.MAP,
    "eastron-sdm230": eastron_sdm230.MAP,
    "eastron-sdm630": eastron_sdm630.MAP,
    "abb-a43": abb_a43.MAP,
    "abb-b21": abb_b21.MAP,
    "abb-b23": abb_b23.MAP,
    "abb-b24": abb_b24.MAP,
    "schneider-iem3155": schneider_iem3155.MAP,
    "schneider-pm5100": schneider_pm5100.MAP,
    "schneider-pm5300": schneider_pm5300.MAP,
    "carlo-gavazzi-em24": carlo_gavazzi_em24.MAP,
    "carlo-gavazzi-em24-e1": carlo_gavazzi_em24_e1.MAP,
    "carlo-gavazzi-em330": carlo_gavazzi_em330.MAP,
    "carlo-gavazzi-em340": carlo_gavazzi_em340.MAP,
    "janitza-b23": janitza_b23.MAP,
    "janitza-umg96": janitza_umg96.MAP,
    "janitza-umg604": janitza_umg604.MAP,
    "siemens-pac2200": siemens_pac2200.MAP,
    "siemens-pac3200": siemens_pac3200.MAP,
    "chint-dtsu666": chint_dtsu666.MAP,
    "inepro-pro380": inepro_pro380.MAP,
    "orno-we517": orno_we517.MAP,
    # Each base address that the standard names, and both steps, are among them.
    "sunspec-201": sunspec.meter(201),
    "sunspec-202": sunspec.meter(202, base=50000),
    "sunspec-203": sunspec.meter(203, watts=10),
    "sunspec-204": sunspec.meter(204),
    "sunspec-211": sunspec.meter(211, base=0),
    "sunspec-212": sunspec.meter(212, base=50000),
    "sunspec-213": sunspec.meter(213),
    "sunspec-214": sunspec.meter(214),
}

SINGLE_PHASE: frozenset[str] = frozenset(
    name for name, registers in MODBUS_MODELS.items() if "current_l2_a" not in registers.quantities
)
"""The models with one phase: a meter behind them has one too, or its total is more than what it shows."""
