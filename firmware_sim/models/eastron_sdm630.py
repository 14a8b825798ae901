"""Eastron SDM630-Modbus V2, three-phase meter.

Document: "SDM630Modbus Smart Meter Modbus Protocol Implementation V1.2", input registers 3X. Every parameter is a
single in two registers, most significant first; a request covers whole parameters, 40 of them (80 registers) at most.
"""

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import float32, float32_kilo_hours

MAP = RegisterMap(
    function=4,
    areas=[range(0x0180)],
    max_registers=80,
    granularity=2,
    registers=[
        float32(0x0000, "voltage_l1_v"),
        float32(0x0002, "voltage_l2_v"),
        float32(0x0004, "voltage_l3_v"),
        float32(0x0006, "current_l1_a"),
        float32(0x0008, "current_l2_a"),
        float32(0x000A, "current_l3_a"),
        float32(0x000C, "power_l1_w"),
        float32(0x000E, "power_l2_w"),
        float32(0x0010, "power_l3_w"),
        float32(0x0034, "power_w"),
        float32(0x0038, "apparent_power_va"),
        float32(0x003C, "reactive_power_var"),
        float32(0x003E, "power_factor"),
        float32(0x0046, "frequency_hz"),
        float32_kilo_hours(0x0048, "energy_import_wh"),
        float32_kilo_hours(0x004A, "energy_export_wh"),
        float32_kilo_hours(0x004C, "reactive_energy_import_varh"),
        float32_kilo_hours(0x004E, "reactive_energy_export_varh"),
    ],
)
