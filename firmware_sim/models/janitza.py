"""What Janitza's instruments have in common: the frequently required readings from 19000 on.

Holding (3) and input (4) registers are the same; singles, most significant word first; energies in Wh and varh, so
that their steps pass 1 Wh above 16.7 MWh. There is no total power factor among them, only one a phase.

Documents: "UMG 96RM Modbus address list and formulary" 1.040.034.b (functions, orders), "UMG 96-S2" manual page 64
(19100 to 19120), "UMG 96-PA" manual page 57 (19000, an example). The table by way of OpenEMS (UMG 96RM-E),
Tinkerforge (UMG series), openWB and a data logger's list of the UMG 604, which agree. What tells one model from another
stands elsewhere in each.
"""

from collections.abc import Sequence

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import Register, float32

READINGS = [
    float32(19000, "voltage_l1_v"),
    float32(19002, "voltage_l2_v"),
    float32(19004, "voltage_l3_v"),
    float32(19012, "current_l1_a"),
    float32(19014, "current_l2_a"),
    float32(19016, "current_l3_a"),
    float32(19020, "power_l1_w"),
    float32(19022, "power_l2_w"),
    float32(19024, "power_l3_w"),
    float32(19026, "power_w"),
    float32(19034, "apparent_power_va"),
    float32(19042, "reactive_power_var"),
    float32(19050, "frequency_hz"),
    float32(19068, "energy_import_wh"),
    float32(19076, "energy_export_wh"),
    float32(19100, "reactive_energy_import_varh"),
    float32(19108, "reactive_energy_export_varh"),
]
AREA = range(19000, 19122)


def meter(registers: Sequence[Register] = (), *, areas: Sequence[range] = ()) -> RegisterMap:
    """`registers` and `areas` besides those from 19000 on."""
    return RegisterMap(functions=(3, 4), areas=[AREA, *areas], registers=[*READINGS, *registers])
