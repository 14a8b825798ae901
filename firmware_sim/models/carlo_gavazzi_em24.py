"""Carlo Gavazzi EM24-DIN with RS-485, three-phase meter.

Document: "EM24-DIN PFA, PFB & X models Communication Protocol": page 4 (at most 11 registers in a request), page 8
(instantaneous variables and meters), page 10 (application, 0x1101), page 13 (serial number, 13 letters at 0x1300).
Identification code 71 (70 to 73 are the family) by a Venus OS module; the document's own table could not be read.
0x005C and 0x005E (export) by way of Tinkerforge.
"""

from firmware_sim.models.carlo_gavazzi import frequency, kilo_hours, lag_or_lead, meter
from firmware_sim.registers import constant

MAP = meter(
    [
        lag_or_lead(0x0035),
        frequency(0x0037),
        kilo_hours(0x003E, "energy_import_wh"),
        kilo_hours(0x0040, "reactive_energy_import_varh"),
        kilo_hours(0x005C, "energy_export_wh"),
        kilo_hours(0x005E, "reactive_energy_export_varh"),
        constant(0x1101, b"\x00\x07"),
    ],
    code=71,
    serial_at=0x1300,
    areas=[range(0x0060), range(0x0302, 0x0304), range(0x1100, 0x1137), range(0x1300, 0x1309)],
    max_registers=11,
)
