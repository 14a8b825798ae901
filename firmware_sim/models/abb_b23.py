"""ABB B23, three-phase meter.

Document: "B23/B24 User Manual" 2CMC485003M0201, chapter 9, by way of openWB, which names it; the identification on a
page of a rebrand. That 0x8960 begins with "B23 " is confirmed by a Venus OS module (0x4232 first). See `abb.py`.
"""

from firmware_sim.models import abb

MAP = abb.meter("B23 112-100")
