"""Schneider Electric iEM3155, three-phase meter.

Document: "iEM3000 series user manual", DOCA0005EN, Modbus register list; its register numbers are one above the
addresses here. Holding registers: singles in kW, kvar and kVA, energies as 64-bit integers in Wh. The power factor is
four-quadrant: a leading one reads as 2 - PF. What is not measured reads as a quiet NaN.
"""

import math
import struct

from firmware_sim.meter import Snapshot
from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import Number, Register, counter, float32

_NAN = math.nan


def _four_quadrant(address: int) -> Register:
    layout = struct.Struct(">f")

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        factor = snapshot.values["power_factor"]
        leading = factor > 0 and snapshot.values["reactive_power_var"] < 0
        data = layout.pack(2 - factor if leading else factor)
        served: float = layout.unpack(data)[0]
        return data, 2 - served if leading else served

    return Register(address, 2, "power_factor", encode)


MAP = RegisterMap(
    function=3,
    areas=[range(0x0BB7, 0x0C27), range(0x0C83, 0x0C9B)],
    filler=b"\x80\x00",
    registers=[
        float32(0x0BB7, "current_l1_a", missing=_NAN),
        float32(0x0BB9, "current_l2_a", missing=_NAN),
        float32(0x0BBB, "current_l3_a", missing=_NAN),
        float32(0x0BD3, "voltage_l1_v", missing=_NAN),
        float32(0x0BD5, "voltage_l2_v", missing=_NAN),
        float32(0x0BD7, "voltage_l3_v", missing=_NAN),
        float32(0x0BED, "power_l1_w", unit=1000, missing=_NAN),
        float32(0x0BEF, "power_l2_w", unit=1000, missing=_NAN),
        float32(0x0BF1, "power_l3_w", unit=1000, missing=_NAN),
        float32(0x0BF3, "power_w", unit=1000),
        float32(0x0BFB, "reactive_power_var", unit=1000),
        float32(0x0C03, "apparent_power_va", unit=1000),
        _four_quadrant(0x0C0B),
        float32(0x0C25, "frequency_hz"),
        counter(0x0C83, "energy_import_wh", wh=1, signed=True),
        counter(0x0C87, "energy_export_wh", wh=1, signed=True),
        counter(0x0C93, "reactive_energy_import_varh", wh=1, signed=True),
        counter(0x0C97, "reactive_energy_export_varh", wh=1, signed=True),
    ],
)
