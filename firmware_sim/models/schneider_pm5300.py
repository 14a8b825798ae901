"""Schneider Electric PM5320, three-phase power meter of the PM5300 series.

Document: "PM51xx_PM53xx_PMC Register List" v2011_v2021; the identification by way of a data logger's list of these
models, the measurements (the same numbers as in the iEM3000) and the power factor by way of notes on that document.
The product number at 89 is left out (its values could not be read), and so are the energies as singles at 2699. Not
confirmed: what pads the texts. See `schneider.py`.
"""

from firmware_sim.models import schneider

MAP = schneider.power_meter("PM5320")
