"""Schneider Electric iEM3155, three-phase meter.

Document: "iEM3100 / iEM3200 / iEM3300 series user manual", DOCA0005EN-04, Modbus register list: page 61 was read, the
measurements by way of a data logger's list of the iEM3100. Not confirmed: what pads the texts, and that filler reads
as 0x8000. See `schneider.py`.
"""

from firmware_sim.models import schneider
from firmware_sim.register_map import RegisterMap

MAP = RegisterMap(
    function=3,
    areas=[range(29, 89), range(129, 131), range(0x0BB7, 0x0C27), range(0x0C83, 0x0C9B), range(0x0DBD, 0x0DC9)],
    filler=b"\x80\x00",
    registers=[*schneider.identity("Energy Meter", "iEM3155"), *schneider.MEASUREMENTS],
)
