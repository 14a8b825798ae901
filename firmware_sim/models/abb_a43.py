"""ABB A43, three-phase meter.

Document: "A43/A44 User Manual" 2CMC48001M0201 revision C, chapter 9, pages 108 to 113 and 169 to 170, which were
read. The type designation is one that ABB sells with RS-485; that the register tells it in this form is not
confirmed. See `abb.py`.
"""

from firmware_sim.models import abb

MAP = abb.meter("A43 212-100")
