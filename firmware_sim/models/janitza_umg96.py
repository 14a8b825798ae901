"""Janitza UMG 96RM, three-phase power analyser.

Document: "UMG 96RM Modbus address list and formulary" 1.040.034.b; see `janitza.py`. Not confirmed: a limit below 125
registers, and what else could tell the model; this one has the common readings alone.
"""

from firmware_sim.models import janitza

MAP = janitza.meter()
