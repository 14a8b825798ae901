"""Janitza UMG 96RM-E, three-phase power analyser.

Document: "UMG 96RM Modbus address list and formulary" 1.040.034.b; see `janitza.py`. Firmware (750), hardware (751),
serial number (754) and product number (769; 5222062 is the UMG 96RM-E) by way of patrick-dmxc/VenusOS-Janitza, whose
author tried it on a UMG 96RM-E. Left out: the power factors from 828 on, which only that source has. Not confirmed: a
limit below 125 registers.
"""

from firmware_sim.models import janitza
from firmware_sim.registers import constant, serial_number

MAP = janitza.meter(
    [
        constant(750, (305).to_bytes(2)),
        constant(751, (104).to_bytes(2)),
        serial_number(754, 2),
        constant(769, (5_222_062).to_bytes(4)),
    ],
    areas=[range(750, 771)],
)
