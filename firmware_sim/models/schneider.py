"""What Schneider Electric's iEM3000 and PM5000 meters have in common.

The documents number registers from 1; addresses here are one less. Holding registers by function 3: singles in kW,
kvar and kVA, energies as 64-bit integers in Wh and varh. What is not measured reads as a quiet NaN. The power factor
is four-quadrant: with negative reactive power 2 - PF while importing, -2 - PF while exporting.

Sources: the register tables of "iEM3100/iEM3200/iEM3300 series user manual" DOCA0005EN (page 61) and, by way of a
data logger's lists, of iEM3100 and PM5100/PM5300; a Node-RED flow for the PM5110 that reads 2999 to 3118 at once; the
notes of a map from "PM51xx_PM53xx_PMC Register List" for the power factor.
"""

import math
import struct

from firmware_sim.meter import Snapshot
from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import Number, Register, counter, float32, serial_number, text

_NAN = math.nan
_SINGLE = struct.Struct(">f")


def four_quadrant(address: int) -> Register:
    """The total power factor; the value that it carries is the plain one."""

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        factor, reactive_var = snapshot.values.get("power_factor"), snapshot.values.get("reactive_power_var")
        if factor is None or reactive_var is None or math.isnan(factor):
            return _SINGLE.pack(_NAN), None
        leading = reactive_var < 0
        turn = math.copysign(2, factor)
        data = _SINGLE.pack(turn - factor if leading else factor)
        served: float = _SINGLE.unpack(data)[0]
        return data, turn - served if leading else served

    return Register(address, 2, "power_factor", encode)


def identity(name: str, model: str) -> list[Register]:
    """Meter name, model and manufacturer in 20 registers each (30, 50, 70), serial number (130)."""
    return [
        text(29, 20, name),
        text(49, 20, model),
        text(69, 20, "Schneider Electric"),
        serial_number(129, 2),
    ]


MEASUREMENTS = [
    float32(2999, "current_l1_a", missing=_NAN),
    float32(3001, "current_l2_a", missing=_NAN),
    float32(3003, "current_l3_a", missing=_NAN),
    float32(3027, "voltage_l1_v", missing=_NAN),
    float32(3029, "voltage_l2_v", missing=_NAN),
    float32(3031, "voltage_l3_v", missing=_NAN),
    float32(3053, "power_l1_w", unit=1000, missing=_NAN),
    float32(3055, "power_l2_w", unit=1000, missing=_NAN),
    float32(3057, "power_l3_w", unit=1000, missing=_NAN),
    float32(3059, "power_w", unit=1000, missing=_NAN),
    float32(3067, "reactive_power_var", unit=1000, missing=_NAN),
    float32(3075, "apparent_power_va", unit=1000, missing=_NAN),
    four_quadrant(3083),
    float32(3109, "frequency_hz", missing=_NAN),
    counter(3203, "energy_import_wh", wh=1, signed=True),
    counter(3207, "energy_export_wh", wh=1, signed=True),
    counter(3219, "reactive_energy_import_varh", wh=1, signed=True),
    counter(3223, "reactive_energy_export_varh", wh=1, signed=True),
]


def power_meter(model: str) -> RegisterMap:
    """A PM5100 or PM5300: one map for both series, with the model's own name in it."""
    return RegisterMap(
        function=3,
        areas=[range(29, 89), range(128, 140), range(2999, 3121), range(3203, 3235)],
        filler=b"\x80\x00",
        registers=[*identity("Power Meter", model), *MEASUREMENTS],
    )
