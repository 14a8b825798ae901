"""Eastron SDM630-Modbus V2, three-phase meter.

Document: user manual "SDM630-Modbus V2" (B+G e-tech, with the Modbus protocol), pages 26 to 30; Eastron's protocol
V1.2 limits a request to 40 parameters. Input registers confirmed by two independent drivers (OpenEMS, Tinkerforge),
the meter code 0x0070 by two Venus OS modules. See `eastron.py`.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    [*eastron.THREE_PHASES, *eastron.REACTIVE_ENERGIES],
    areas=[range(0x0180)],
    max_registers=80,
    system_type=3,
    meter_code=0x0070,
)
