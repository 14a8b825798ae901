"""Eastron SDM72D-M-2 (V2), three-phase meter; its predecessor SDM72D-M has total power and energies alone.

Document: "Eastron SDM72D-M-v2 Modbus Protocol", by way of the Rust crate sdm72 and of a Home Assistant integration
that names it; user manual SDM72D-M V1.5, page 14, for the limit of 30 parameters. Meter code 0x0089 (0x0084 is the
predecessor). No registers for reactive energy by direction. Some units take 10 registers only (openWB); these do 60.
"""

from firmware_sim.models import eastron

MAP = eastron.meter(
    eastron.THREE_PHASES,
    areas=[range(0x018E), range(0x0500, 0x0504)],
    max_registers=60,
    system_type=3,
    meter_code=0x0089,
)
