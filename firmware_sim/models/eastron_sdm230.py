"""Eastron SDM230-Modbus, single-phase meter.

Document: "SDM230 Protocol V1.0" (2018), function 4: its table was read, to 0x0180, the resettable total; "SDM230-2T
Smart Meter Modbus Protocol Implementation V1.1" for the limit of 30 values. Meter code 0x002B by one Venus OS module.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    eastron.SINGLE_PHASE,
    areas=[range(0x0060), range(0x0102, 0x010A), range(0x0156, 0x015A), range(0x0180, 0x0184)],
    max_registers=60,
    system_type=1,
    meter_code=0x002B,
)
