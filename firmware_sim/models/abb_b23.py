"""ABB B23, three-phase meter.

Document: "B23/B24 User Manual", 2CMC485003M0201, chapter 9; the map is not checked against it yet.
Holding registers, most significant word first; a quantity that is not available reads as all
ones, a signed one as the largest positive number.
"""

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import constant, counter, integer

MAP = RegisterMap(
    function=3,
    areas=[range(0x5000, 0x5018), range(0x5B00, 0x5B40), range(0x8900, 0x8902), range(0x8960, 0x8966)],
    filler=b"\xff\xff",
    registers=[
        counter(0x5000, "energy_import_wh", wh=10),
        counter(0x5004, "energy_export_wh", wh=10),
        counter(0x500C, "reactive_energy_import_varh", wh=10),
        counter(0x5010, "reactive_energy_export_varh", wh=10),
        integer(0x5B00, "voltage_l1_v", words=2, per_unit=10),
        integer(0x5B02, "voltage_l2_v", words=2, per_unit=10),
        integer(0x5B04, "voltage_l3_v", words=2, per_unit=10),
        integer(0x5B0C, "current_l1_a", words=2, per_unit=100),
        integer(0x5B0E, "current_l2_a", words=2, per_unit=100),
        integer(0x5B10, "current_l3_a", words=2, per_unit=100),
        integer(0x5B14, "power_w", words=2, per_unit=100, signed=True),
        integer(0x5B16, "power_l1_w", words=2, per_unit=100, signed=True),
        integer(0x5B18, "power_l2_w", words=2, per_unit=100, signed=True),
        integer(0x5B1A, "power_l3_w", words=2, per_unit=100, signed=True),
        integer(0x5B1C, "reactive_power_var", words=2, per_unit=100, signed=True),
        integer(0x5B24, "apparent_power_va", words=2, per_unit=100, signed=True),
        integer(0x5B2C, "frequency_hz", words=1, per_unit=100),
        integer(0x5B3A, "power_factor", words=1, per_unit=1000, signed=True),
        constant(0x8900, (4_711_001).to_bytes(4)),
        constant(0x8960, b"B23 112-100 "),
    ],
)
