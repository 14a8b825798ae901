"""ORNO OR-WE-517, three-phase meter.

Document: "OR-WE-516/OR-WE-517 Modbus register table", by way of a script that names every register and of two further
projects that agree. Holding registers by function 3, singles most significant word first, in kW, kvar, kVA, kWh and
kvarh; the serial number is in 0x0000. Not confirmed: whether its digits are BCD (an integer here), and limits.

The order of the quantities is that of `inepro.py`; addresses and gaps come from another document, so that each map can
be held against its own.
"""

import struct

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import constant, float32, float32_kilo_hours, serial_number

MAP = RegisterMap(
    function=3,
    areas=[range(0x0043), range(0x0100, 0x0130)],
    registers=[
        serial_number(0x0000, 2),
        constant(0x0002, b"\x00\x01"),
        constant(0x0003, (9600).to_bytes(2)),
        constant(0x0004, struct.pack(">f", 1.20)),
        constant(0x0006, struct.pack(">f", 1.10)),
        float32(0x000E, "voltage_l1_v"),
        float32(0x0010, "voltage_l2_v"),
        float32(0x0012, "voltage_l3_v"),
        float32(0x0014, "frequency_hz"),
        float32(0x0016, "current_l1_a"),
        float32(0x0018, "current_l2_a"),
        float32(0x001A, "current_l3_a"),
        float32(0x001C, "power_w", unit=1000),
        float32(0x001E, "power_l1_w", unit=1000),
        float32(0x0020, "power_l2_w", unit=1000),
        float32(0x0022, "power_l3_w", unit=1000),
        float32(0x0024, "reactive_power_var", unit=1000),
        float32(0x002C, "apparent_power_va", unit=1000),
        float32(0x0034, "power_factor"),
        float32_kilo_hours(0x0108, "energy_import_wh"),
        float32_kilo_hours(0x0110, "energy_export_wh"),
        float32_kilo_hours(0x0120, "reactive_energy_import_varh"),
        float32_kilo_hours(0x0128, "reactive_energy_export_varh"),
    ],
)
