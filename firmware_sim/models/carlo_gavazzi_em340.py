"""Carlo Gavazzi EM340DINAV23XS1X, three-phase meter to 65 A, RS-485.

Document and map as of the EM330, `carlo_gavazzi_em330.py`. Identification code 340: the ET340's is 345 by a Venus OS
module, this one's stands in no source that could be read and is not confirmed.
"""

from firmware_sim.models.carlo_gavazzi import EM300_AREAS, EM300_REGISTERS, directed, meter
from firmware_sim.registers import constant

MAP = meter(
    [*EM300_REGISTERS, directed(0x0031), constant(0x1103, b"\x00\x01")],
    code=340,
    serial_at=0x5000,
    areas=EM300_AREAS,
    max_registers=50,
)
