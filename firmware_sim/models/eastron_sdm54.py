"""Eastron SDM54-M, three-phase meter.

Document: "SDM54-M/-2T Smart Meter Modbus Protocol Implementation V1.0" (2021), of which only the first page could be
read; the registers by way of volkszaehler/mbmd, of "SDM54 series user manual" V1.2: those of the family, but reactive
energy by direction is counted by tariff alone, so that 0x004C and 0x004E have nothing. Not confirmed: the limit of 30
parameters, which is that of the SDM72. No source gives its meter code, so this one has none.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    eastron.THREE_PHASES,
    areas=[range(0x018E)],
    max_registers=60,
    system_type=3,
)
