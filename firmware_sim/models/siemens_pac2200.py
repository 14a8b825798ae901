"""Siemens SENTRON PAC2200, three-phase power meter.

Document: equipment manual "7KM PAC2200" L1V30415167B-03, appendix A.1 (pages 100 and 115 were read). The order number
is one that Siemens sells; that the register tells it in this form is not confirmed. See `siemens.py`.
"""

from firmware_sim.models import siemens

MAP = siemens.meter("7KM2200-2EA30-1EA1", last=72)
