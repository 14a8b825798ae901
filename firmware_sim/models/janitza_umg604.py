"""Janitza UMG 604, three-phase power analyser.

Document: "UMG 604 Modbus address list", not read; the readings of 19000 by way of a data logger's list of this model,
its measured values of 200 ms (1317 to 1372, frequency 1439) and energies (9851, 9863) by way of OpenEMS, which reads
these.
"""

from firmware_sim.models import janitza
from firmware_sim.registers import float32

MAP = janitza.meter(
    [
        float32(1317, "voltage_l1_v"),
        float32(1319, "voltage_l2_v"),
        float32(1321, "voltage_l3_v"),
        float32(1325, "current_l1_a"),
        float32(1327, "current_l2_a"),
        float32(1329, "current_l3_a"),
        float32(1333, "power_l1_w"),
        float32(1335, "power_l2_w"),
        float32(1337, "power_l3_w"),
        float32(1369, "power_w"),
        float32(1371, "reactive_power_var"),
        float32(1439, "frequency_hz"),
        float32(9851, "energy_import_wh"),
        float32(9863, "energy_export_wh"),
    ],
    areas=[range(1317, 1373), range(1439, 1441), range(9851, 9865)],
)
