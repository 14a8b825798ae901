"""What Inepro's PRO380-Mod and the meters that others sell of it have in common.

Document: "PRO380 user manual" V2.18, appendix A3, by way of a Venus OS module that names it and of two Home Assistant
integrations that were tried on a meter. Holding registers by function 3, singles most significant word first, in kW,
kvar, kVA, kWh and kvarh; the serial number at 0x4000 is eight BCD digits, the meter code stands at 0x4002. Reactive and
apparent power and reactive energies stand where the order of the table has them (each energy takes 12 registers:
total, forward, reverse, then the same for reactive); volkszaehler/mbmd names the same addresses of the same document.
"""

import struct

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import constant, float32, float32_kilo_hours, serial_number

_REGISTERS = [
    serial_number(0x4000, 2, form="bcd"),
    constant(0x4003, b"\x00\x01"),
    constant(0x4007, struct.pack(">f", 2.18)),
    constant(0x4009, struct.pack(">f", 1.03)),
    float32(0x5002, "voltage_l1_v"),
    float32(0x5004, "voltage_l2_v"),
    float32(0x5006, "voltage_l3_v"),
    float32(0x5008, "frequency_hz"),
    float32(0x500C, "current_l1_a"),
    float32(0x500E, "current_l2_a"),
    float32(0x5010, "current_l3_a"),
    float32(0x5012, "power_w", unit=1000),
    float32(0x5014, "power_l1_w", unit=1000),
    float32(0x5016, "power_l2_w", unit=1000),
    float32(0x5018, "power_l3_w", unit=1000),
    float32(0x501A, "reactive_power_var", unit=1000),
    float32(0x5022, "apparent_power_va", unit=1000),
    float32(0x502A, "power_factor"),
    float32_kilo_hours(0x600C, "energy_import_wh"),
    float32_kilo_hours(0x6018, "energy_export_wh"),
    float32_kilo_hours(0x6030, "reactive_energy_import_varh"),
    float32_kilo_hours(0x603C, "reactive_energy_export_varh"),
]
_AREAS = [range(0x4000, 0x401D), range(0x5000, 0x5032), range(0x6000, 0x6048)]


def meter(*, meter_code: int | None = None, old_model: bytes | None = None) -> RegisterMap:
    """Without a `meter_code` 0 stands there: none is known. `old_model` is what the register map before V2 answers."""
    return RegisterMap(
        function=3,
        areas=[*_AREAS, *([] if old_model is None else [range(0x1010, 0x1011)])],
        registers=[
            *_REGISTERS,
            *([] if meter_code is None else [constant(0x4002, meter_code.to_bytes(2))]),
            *([] if old_model is None else [constant(0x1010, old_model)]),
        ],
    )
