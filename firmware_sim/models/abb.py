"""What ABB's A and B meters have in common: one Modbus map.

Documents: "A43/A44 User Manual" 2CMC48001M0201 revision C, pages 108 (totals), 113 (identification), 169 and 170 (an
answer, decoded); a rebrand of the B23 manual, 2CDC 512 084 D0101, page 62 (identification, the same). openWB reads
the same map of "B23/B24 User Manual" 2CMC485003M0201. Holding registers by function 3, most significant word first;
what is not there reads as all ones, a signed quantity as the largest positive number.
"""

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import constant, counter, integer, serial_number, text

_NO_SIGNED = b"\x7f\xff\xff\xff"


def meter(type_designation: str, *, phases: int = 3) -> RegisterMap:
    """`type_designation` is the text at 0x8960, 12 characters with the ending zero."""
    registers = [
        counter(0x5000, "energy_import_wh", wh=10),
        counter(0x5004, "energy_export_wh", wh=10),
        counter(0x500C, "reactive_energy_import_varh", wh=10),
        counter(0x5010, "reactive_energy_export_varh", wh=10),
        integer(0x5B14, "power_w", words=2, per_unit=100, signed=True),
        integer(0x5B1C, "reactive_power_var", words=2, per_unit=100, signed=True),
        integer(0x5B24, "apparent_power_va", words=2, per_unit=100, signed=True),
        integer(0x5B2C, "frequency_hz", words=1, per_unit=100),
        integer(0x5B3A, "power_factor", words=1, per_unit=1000, signed=True),
        serial_number(0x8900, 2),
        text(0x8908, 8, "1.12.0"),
        constant(0x8910, b"\x01\x02"),
        text(0x8960, 6, type_designation),
    ]
    for phase in range(1, phases + 1):
        step = 2 * (phase - 1)
        registers += [
            integer(0x5B00 + step, f"voltage_l{phase}_v", words=2, per_unit=10),
            integer(0x5B0C + step, f"current_l{phase}_a", words=2, per_unit=100),
        ]
        if phases > 1:
            registers.append(integer(0x5B16 + step, f"power_l{phase}_w", words=2, per_unit=100, signed=True))
    if phases == 1:
        registers.append(constant(0x5B16, 3 * _NO_SIGNED))
    return RegisterMap(
        function=3,
        areas=[
            range(0x5000, 0x5038),
            range(0x5460, 0x54CC),
            range(0x5B00, 0x5B40),
            range(0x8900, 0x8902),
            range(0x8908, 0x8911),
            range(0x8960, 0x8966),
        ],
        filler=b"\xff\xff",
        registers=registers,
    )
