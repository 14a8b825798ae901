"""ABB B24, three-phase meter for current transformers.

Document: "B23/B24 User Manual" 2CMC485003M0201, chapter 9, by way of openWB; values are primary. The type designation
is one that ABB sells with RS-485; that the register tells it in this form is not confirmed. See `abb.py`.
"""

from firmware_sim.models import abb

MAP = abb.meter("B24 112-100")
