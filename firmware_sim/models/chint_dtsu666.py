"""Chint DTSU666, three-phase meter, direct connection.

Document: "DTSU666 series and DSSU666 series user manual" ZTY0.464.1448, table 11: page 12 was read (settings;
function 3 reads); the measurements by way of a data logger's list, of openWB (which scales them) and of an
emulator's. Singles, most significant word first, that count in tenths of V, W and var, thousandths of A and of the
power factor, hundredths of Hz and whole kWh, times the transformer ratios IrAt and UrAt / 10, both 1 here. Energies
stand at 0x101E, as in the maker's manual of 2023; older meters have them at 0x401E, where in newer ones nothing valid
stands (lmatula/ha_chint_pm, issue 16 and the comments of its code). Not confirmed: limits, and what stands between the
listed registers.
"""

from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import constant, float32, float32_kilo_hours

MAP = RegisterMap(
    function=3,
    areas=[range(0x0030), range(0x101E, 0x1032), range(0x2000, 0x2052)],
    registers=[
        constant(0x0000, (204).to_bytes(2)),
        constant(0x0001, (701).to_bytes(2)),
        constant(0x0006, (1).to_bytes(2)),
        constant(0x0007, (10).to_bytes(2)),
        constant(0x002C, (3).to_bytes(2)),
        constant(0x002D, (3).to_bytes(2)),
        constant(0x002E, (1).to_bytes(2)),
        float32_kilo_hours(0x101E, "energy_import_wh"),
        float32_kilo_hours(0x1028, "energy_export_wh"),
        float32(0x2006, "voltage_l1_v", per_unit=10),
        float32(0x2008, "voltage_l2_v", per_unit=10),
        float32(0x200A, "voltage_l3_v", per_unit=10),
        float32(0x200C, "current_l1_a", per_unit=1000),
        float32(0x200E, "current_l2_a", per_unit=1000),
        float32(0x2010, "current_l3_a", per_unit=1000),
        float32(0x2012, "power_w", per_unit=10),
        float32(0x2014, "power_l1_w", per_unit=10),
        float32(0x2016, "power_l2_w", per_unit=10),
        float32(0x2018, "power_l3_w", per_unit=10),
        float32(0x201A, "reactive_power_var", per_unit=10),
        float32(0x202A, "power_factor", per_unit=1000),
        float32(0x2044, "frequency_hz", per_unit=100),
    ],
)
