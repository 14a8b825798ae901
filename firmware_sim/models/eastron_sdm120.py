"""Eastron SDM120-Modbus, single-phase meter.

Document: "SDM120-Modbus Smart Meter Modbus Protocol Implementation V2.4"; its table by way of OpenEMS, wb-mqtt-serial
and SDM_Energy_Meter, which agree. Meter code 0x0020 by two Venus OS modules; older units have none. The document
names no limit of a request (openWB); 80 registers is what the family's other documents give.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    eastron.SINGLE_PHASE,
    areas=[range(0x0060), range(0x0102, 0x010A), range(0x0156, 0x015A)],
    max_registers=80,
    system_type=1,
    meter_code=0x0020,
)
