"""What the meters of Eastron's SDM family have in common.

Input registers: every parameter is a single in two registers, most significant first; requests cover whole
parameters; a longer request than the meter's limit is answered by an exception. Holding registers: settings as
singles, and at 0xFC00 the serial number, at 0xFC02 the meter code in one register, at 0xFC03 the software version.

Sources: the register tables of "SDM230-LoRaWAN Protocol V1.0" (its Modbus part) and of the user manuals of
SDM630-Modbus V2 (pages 28 to 30) and SDM72D-M; OpenEMS (SDM120, SDM630); Tinkerforge (SDM630); openWB (SDM630, SDM72,
SDM120); the input table of the Rust crate sdm72. Meter codes: community modules for Venus OS
(M-o-a-T/victron-meter-library and its forks), the crate sdm72, Tinkerforge's bricklib2 (SDM630, SDM72). What reads
between the listed parameters (0 here) is not documented.
"""

import struct
from collections.abc import Sequence

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import Register, constant, float32, float32_kilo_hours, serial_number

ENERGIES = [
    float32_kilo_hours(0x0048, "energy_import_wh"),
    float32_kilo_hours(0x004A, "energy_export_wh"),
]
REACTIVE_ENERGIES = [
    float32_kilo_hours(0x004C, "reactive_energy_import_varh"),
    float32_kilo_hours(0x004E, "reactive_energy_export_varh"),
]
SINGLE_PHASE = [
    float32(0x0000, "voltage_l1_v"),
    float32(0x0006, "current_l1_a"),
    float32(0x000C, "power_w"),
    float32(0x0012, "apparent_power_va"),
    float32(0x0018, "reactive_power_var"),
    float32(0x001E, "power_factor"),
    float32(0x0046, "frequency_hz"),
    *ENERGIES,
    *REACTIVE_ENERGIES,
]
THREE_PHASES = [
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
    *ENERGIES,
]
_DEMAND_PERIOD = 0x0002


def meter(
    registers: Sequence[Register],
    *,
    areas: Sequence[range],
    max_registers: int,
    system_type: int,
    meter_code: int | None = None,
) -> RegisterMap:
    """`system_type` as in holding register 0x000A (1: 1p2w, 3: 3p4w). No `meter_code`: none is known of the model."""
    identity = [range(0xFC00, 0xFC02 if meter_code is None else 0xFC04)]
    settings = [
        constant(_DEMAND_PERIOD, struct.pack(">f", 60)),
        constant(0x000A, struct.pack(">f", system_type)),
        constant(0x0012, struct.pack(">f", 0)),
        constant(0x0014, struct.pack(">f", 1)),
        constant(0x001C, struct.pack(">f", 2)),
        serial_number(0xFC00, 2),
        *([] if meter_code is None else [constant(0xFC02, struct.pack(">HH", meter_code, 0x0105))]),
    ]
    holding = RegisterMap(
        function=3,
        areas=[range(0x0058), *identity],
        registers=settings,
        max_registers=max_registers,
        # In minutes, and the one setting that moves neither the meter's address nor how it talks.
        writable=[range(_DEMAND_PERIOD, _DEMAND_PERIOD + 2)],
    )
    return RegisterMap(
        function=4, areas=areas, registers=registers, max_registers=max_registers, granularity=2, others=[holding]
    )
