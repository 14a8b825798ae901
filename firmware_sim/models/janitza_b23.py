"""Janitza B23 312-10J, three-phase MID meter.

Document: "MID energy meters product manual" 2.100.006.2, of which no table could be read. Holding registers as
singles, by a list of meters' types; that they are the readings from 19000 on, as in Janitza's instruments, is not
confirmed, nor whether the ABB map of the same housing answers too. See `janitza.py`.
"""

from firmware_sim.models.janitza import AREA, READINGS
from firmware_sim.register_map import RegisterMap

MAP = RegisterMap(function=3, areas=[AREA], registers=READINGS)
