"""Siemens SENTRON PAC3200, three-phase power meter.

Document: manual "SENTRON PAC3200" A5E01168664B-04, section 3.9.3 (page 40 was read). The order number is one that
Siemens sells; that the register tells it in this form is not confirmed. See `siemens.py`.
"""

from firmware_sim.models import siemens

MAP = siemens.meter("7KM2112-0BA00-3AA0", last=140)
