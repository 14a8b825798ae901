"""Carlo Gavazzi EM330DINAV53HS1X, three-phase meter for current transformers, RS-485.

Document: "EM300 Series and ET300 Series Communication Protocol" version 2; the map by way of Tinkerforge and OpenEMS,
identification code 332 and measurement mode (0x1103, 1 is B: both directions) by an emulator that names the document.
Its 64-bit energies at 0x0500 are left out. Not confirmed: the limit of a request (OpenEMS asks for 34 at once).
"""

from firmware_sim.models.carlo_gavazzi import EM300_AREAS, EM300_REGISTERS, directed, meter
from firmware_sim.registers import constant

MAP = meter(
    [*EM300_REGISTERS, directed(0x0031), constant(0x1103, b"\x00\x01")],
    code=332,
    serial_at=0x5000,
    areas=EM300_AREAS,
    max_registers=50,
)
