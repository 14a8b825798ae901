"""What Carlo Gavazzi's three-phase meters have in common.

Functions 3 and 4 read the same registers; 32-bit values have the least significant word first. Volts and watts are in
tenths, amperes in thousandths. The sign of the power factor is lag or lead in the EM24, the direction of power in the
EM300. Register 0x000B is the high word of the voltage L3-L1; asked for by itself it is the
identification code. The code is "limited to a word at a time" in the documents.

Documents: "EM24-DIN PFA, PFB & X models Communication Protocol" (pages 4 and 8 to 13 were read), "EM300 Series and
ET300 Series Communication Protocol" version 2. Tinkerforge has the maps of all four, and by meter what the sign of
the power factor says; OpenEMS has that of the EM300, and an emulator for an EM330 tells the codes apart from the
voltage.
"""

import math
from collections.abc import Sequence

from firmware_sim.meter import Snapshot
from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import Number, Register, constant, integer, serial_number


def tenths(address: int, quantity: str) -> Register:
    return _s32(address, quantity, per_unit=10)


def kilo_hours(address: int, quantity: str) -> Register:
    """kWh or kvarh in tenths."""
    return _s32(address, quantity, per_unit=1, unit=100)


def _s32(address: int, quantity: str, *, per_unit: int, unit: int = 1) -> Register:
    return _or_zero(integer(address, quantity, words=2, signed=True, per_unit=per_unit, unit=unit, word_order="little"))


def _or_zero(register: Register) -> Register:
    """What is not connected reads 0, which nothing tells from a measured 0: so it is the value that was served."""

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        data, value = register.encode(snapshot)
        return (bytes(len(data)), 0) if value is None else (data, value)

    return Register(register.address, register.words, register.quantity, encode)


def lag_or_lead(address: int) -> Register:
    """The power factor in thousandths: positive for lag (L), negative for lead (C).

    That sign is none of the quantity's, so the value that it carries has none.
    """

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        factor, reactive_var = snapshot.values.get("power_factor"), snapshot.values.get("reactive_power_var")
        if factor is None or reactive_var is None or math.isnan(factor):
            return bytes(2), 0
        count = round(abs(factor) * 1000) * (-1 if reactive_var < 0 else 1)
        return count.to_bytes(2, signed=True), abs(count) / 1000

    return Register(address, 1, "power_factor", encode)


def directed(address: int) -> Register:
    """The power factor in thousandths: negative for exported active power."""
    return _or_zero(integer(address, "power_factor", words=1, signed=True, per_unit=1000))


def frequency(address: int) -> Register:
    return _or_zero(integer(address, "frequency_hz", words=1, per_unit=10))


def meter(
    registers: Sequence[Register], *, code: int, serial_at: int, areas: Sequence[range], max_registers: int
) -> RegisterMap:
    """`registers` besides voltages, currents and powers, which are the same in all; `code` is read at 0x000B alone."""
    common = [
        register
        for phase in (1, 2, 3)
        for register in (
            tenths(0x0000 + 2 * (phase - 1), f"voltage_l{phase}_v"),
            _s32(0x000C + 2 * (phase - 1), f"current_l{phase}_a", per_unit=1000),
            tenths(0x0012 + 2 * (phase - 1), f"power_l{phase}_w"),
        )
    ]
    totals = [
        tenths(0x0028, "power_w"),
        tenths(0x002A, "apparent_power_va"),
        tenths(0x002C, "reactive_power_var"),
        serial_number(serial_at, 7, form="text", prefix="BX", pad=b"\x00"),
    ]
    return RegisterMap(
        functions=(3, 4),
        areas=areas,
        registers=[*common, *totals, *registers],
        alone=[constant(0x000B, code.to_bytes(2))],
        max_registers=max_registers,
    )


# Without the power factor at 0x0031, whose sign is not the same in all of them.
EM300_REGISTERS = [
    frequency(0x0033),
    kilo_hours(0x0034, "energy_import_wh"),
    kilo_hours(0x0036, "reactive_energy_import_varh"),
    kilo_hours(0x004E, "energy_export_wh"),
    kilo_hours(0x0050, "reactive_energy_export_varh"),
]
EM300_AREAS = [
    range(0x0052),
    range(0x0302, 0x0306),
    range(0x1000, 0x1010),
    range(0x1100, 0x1104),
    range(0x5000, 0x5007),
]
