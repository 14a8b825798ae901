"""What Siemens' SENTRON PAC meters have in common.

Functions 3 and 4 read the same. Values are singles at odd offsets from 1, energies doubles in Wh and varh from 801,
one a tariff; the power factor is 0 to 1, without sign. A request that does not start and end on a value is refused.
From 64001 on there are the I&M data, 27 registers that are read as a whole or not at all: manufacturer 42, order
number in 20 and serial number in 16 characters.

Documents: "SENTRON PAC3200" manual A5E01168664B-04 page 40, "7KM PAC2200" equipment manual L1V30415167B-03 pages 100
and 115, "PAC4200" manual A5E02316180B-01 page 208 (energies by tariff), "PAC RS485" A5E02091800B-01 page 54 (I&M of
PAC3200); "7KM PAC2200" L1V30415167B-06, appendix A.1, by way of mbmap-library (I&M data as a whole). OpenEMS, openWB
and Tinkerforge agree. Not confirmed: 0 for what is not connected.
"""

import math
import struct

from firmware_sim.meter import Snapshot
from firmware_sim.register_map import RegisterMap
from firmware_sim.registers import Number, Register, constant, float32, float64, serial_number, text

_SINGLE = struct.Struct(">f")


def _magnitude(address: int, quantity: str) -> Register:
    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        value = snapshot.values.get(quantity)
        if value is None or math.isnan(value):
            return _SINGLE.pack(math.nan), None
        data = _SINGLE.pack(abs(value))
        return data, _SINGLE.unpack(data)[0]

    return Register(address, 2, quantity, encode)


def meter(order_number: str, *, last: int) -> RegisterMap:
    """`last` is the last register of the measured values."""
    registers = [
        float32(1, "voltage_l1_v"),
        float32(3, "voltage_l2_v"),
        float32(5, "voltage_l3_v"),
        float32(13, "current_l1_a"),
        float32(15, "current_l2_a"),
        float32(17, "current_l3_a"),
        float32(25, "power_l1_w"),
        float32(27, "power_l2_w"),
        float32(29, "power_l3_w"),
        float32(55, "frequency_hz"),
        float32(63, "apparent_power_va"),
        float32(65, "power_w"),
        float32(67, "reactive_power_var"),
        _magnitude(69, "power_factor"),
        float64(801, "energy_import_wh"),
        float64(809, "energy_export_wh"),
        float64(817, "reactive_energy_import_varh"),
        float64(825, "reactive_energy_export_varh"),
        constant(64001, (42).to_bytes(2)),
        text(64002, 10, order_number, pad=b" "),
        serial_number(64012, 8, form="text", prefix="LQN/", pad=b" "),
    ]
    return RegisterMap(
        functions=(3, 4),
        areas=[range(1, last + 1, 2), range(801, 841, 4), range(64001, 64028, 27)],
        registers=registers,
    )
