"""ABB B21, single-phase meter.

Document: "B21 User Manual" 2CMC485004M0201 revision A, chapter 9, of which no table could be read; the family's map
without L2 and L3. What a phase has besides voltage and current reads as not available, L1 included: so Victron's
driver found it, and so mbmap-library has it of revision D. The type designation is one that ABB sells with RS-485;
that the register tells it in this form is not confirmed. See `abb.py`.
"""

from firmware_sim.models import abb

MAP = abb.meter("B21 112-100", phases=1)
