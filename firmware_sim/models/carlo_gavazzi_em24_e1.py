"""Carlo Gavazzi EM24DINAV53XE1X (EM24-E1), three-phase meter with Ethernet: Modbus TCP.

Document: "EM24_E1 (Ethernet) Communication Protocol" version 0 revision 1.2, not read; the map by way of Tinkerforge,
the same as the EM300's in these quantities. Identification code 1651 and the registers 0xA000 (application, 7 is H)
and 0xA100 (selector, 3 is locked) by several drivers and emulators. Not confirmed: the limit of a request (none
here).
"""

from firmware_sim.models.carlo_gavazzi import EM300_AREAS, EM300_REGISTERS, lag_or_lead, meter
from firmware_sim.registers import constant

MAP = meter(
    [*EM300_REGISTERS, lag_or_lead(0x0031), constant(0xA000, b"\x00\x07"), constant(0xA100, b"\x00\x03")],
    code=1651,
    serial_at=0x5000,
    areas=[*EM300_AREAS, range(0xA000, 0xA001), range(0xA100, 0xA101)],
    max_registers=125,
)
