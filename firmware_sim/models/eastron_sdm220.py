"""Eastron SDM220-Modbus, single-phase meter.

Document: "SDM220Modbus Protocol", not read; the registers are the SDM120's (wb-mqtt-serial has a template of each,
and SDM120C reads both with one table). Power factor at 0x001E, not 0x0024, which is the angle. Not confirmed: the
limit of a request. No source gives its meter code, so this one has none.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    eastron.SINGLE_PHASE,
    areas=[range(0x0060), range(0x0102, 0x010A), range(0x0156, 0x015A)],
    max_registers=80,
    system_type=1,
)
