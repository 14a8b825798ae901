"""Eastron SDM54-M, three-phase meter.

Document: "SDM54-M/-2T Smart Meter Modbus Protocol Implementation V1.0" (2021); only its first page could be read. The
registers are those of the family (53 singles by function 4, says a list of meters that names this document), the limit
of 30 parameters that of the SDM72. Not confirmed: both. No source gives its meter code, so this one has none.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    [*eastron.THREE_PHASES, *eastron.REACTIVE_ENERGIES],
    areas=[range(0x018E)],
    max_registers=60,
    system_type=3,
)
