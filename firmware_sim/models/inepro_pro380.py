"""Inepro PRO380-Mod, three-phase meter.

Document: "PRO380 user manual" V2.18, appendix A3; see `inepro.py`. Left out, because no source could be read: the
meter code (0x4002). The old map's 0x1010 still answers, with 0x2007.
"""

from firmware_sim.models import inepro

MAP = inepro.meter(old_model=b"\x20\x07")
