"""Register maps for benchmarks: all quantities in one block of a wanted length."""

import struct
from pathlib import Path

from contract.quantities import QUANTITIES

_HEAD = """
kind = "modbus"
maker = "bench"
model = "{registers} registers"
datasheet = "none"
revision = ""
source = "made for benchmarks"
verified = false
function = 4
max_registers = {registers}
max_gap = {registers}
nominal = {{ phases = 3, voltage_v = 230, frequency_hz = 50, current_max_a = 100 }}
registers = [
{rows}
]
"""


def floats(folder: Path, registers: int) -> Path:
    """A profile of all quantities as float32, spread over `registers` registers from 0."""
    last = registers - 2
    step = last // (len(QUANTITIES) - 1) // 2 * 2
    addresses = [n * step for n in range(len(QUANTITIES) - 1)] + [last]
    rows = ",\n".join(
        f'  {{ quantity = "{quantity.name}", address = {address}, type = "float32" }}'
        for quantity, address in zip(QUANTITIES, addresses, strict=True)
    )
    return _written(folder / f"floats-{registers}.toml", registers, rows)


def integers(folder: Path, registers: int) -> Path:
    """A profile of the first `registers` quantities, one 16-bit register each."""
    rows = ",\n".join(
        f'  {{ quantity = "{quantity.name}", address = {address}, type = "u16", divisor = 10 }}'
        for address, quantity in enumerate(QUANTITIES[:registers])
    )
    return _written(folder / f"integers-{registers}.toml", registers, rows)


def _written(file: Path, registers: int, rows: str) -> Path:
    file.write_text(_HEAD.format(registers=registers, rows=rows))
    return file


def served() -> dict[tuple[int, int], int]:
    """What the peer's server holds: 0.5 as float32 in every pair of input registers, which every quantity may be."""
    high, low = struct.unpack(">HH", struct.pack(">f", 0.5))
    return {(3, address): (low if address % 2 else high) for address in range(125)}
