"""WAGO 879-3020, three-phase meter to 65 A: Inepro's PRO380 under another name.

Document: "WAGO Energy Meters (MID)" operating instructions 4PU/4PS/2PU CT, appendix A3, by way of volkszaehler/mbmd
(879-30X0), whose registers are those of the PRO380. Meter code 0x1112 by notes on one meter behind a WAGO CC100. Left
out: the data format at 0x4026, which may have powers in W instead of kW. Not confirmed: reactive energies, which are
the PRO380's. See `inepro.py`.
"""

from firmware_sim.models import inepro

MAP = inepro.meter(meter_code=0x1112)
