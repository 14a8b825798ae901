"""Register maps from the datasheet's side: a snapshot in, register words and the values they carry out.

Written from the meters' documents and the Modbus specification alone, apart from any reader of these registers.
"""

import math
import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Snapshot

Number = int | float
Encoder = Callable[[Snapshot], tuple[bytes, Number | None]]
"""Register bytes, and the value they carry in the quantity's own unit: None where the meter has no such value."""

_F32 = struct.Struct(">f")
_INTEGER = {(2, True): ">h", (2, False): ">H", (4, True): ">i", (4, False): ">I", (8, True): ">q", (8, False): ">Q"}


class IllegalAddress(Exception):
    """The request names registers that the meter does not have (Modbus exception 02)."""


class IllegalCount(Exception):
    """The request asks for more registers at once than the meter gives (Modbus exception 03)."""


@dataclass(frozen=True, slots=True)
class Register:
    """Registers from `address` on that hold one value; `quantity` is "" for what only the meter knows."""

    address: int
    words: int
    quantity: str
    encode: Encoder


def float32(address: int, quantity: str, *, unit: float = 1, missing: float = 0.0) -> Register:
    """IEEE 754 single, most significant word first, in `unit` of the quantity (1000 for a register in kW).

    What the meter does not measure reads as `missing`, NaN or 0 by the habit of its maker.
    """

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        value = snapshot.values.get(quantity)
        if value is None:
            return _F32.pack(missing), None if math.isnan(missing) else missing
        data = _F32.pack(value / unit)
        # A single times 1000 is exact in double precision: this is the value on the wire, not an approximation.
        return data, _F32.unpack(data)[0] * unit

    return Register(address, 2, quantity, encode)


def float32_kilo_hours(address: int, quantity: str) -> Register:
    """An energy register as a single, kWh or kvarh: its steps pass 1 Wh above 8192 kWh, as in the real meter."""

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        data = _F32.pack(snapshot.registers_nj[quantity] / (1000 * NJ_PER_WH))
        return data, _F32.unpack(data)[0] * 1000

    return Register(address, 2, quantity, encode)


def integer(address: int, quantity: str, *, words: int, per_unit: int, signed: bool = False) -> Register:
    """A whole number of 1/`per_unit` of the unit; all ones (signed: but the sign) where there is no such value."""
    layout = struct.Struct(_INTEGER[2 * words, signed])
    missing = ((1 << (16 * words - 1)) - 1 if signed else (1 << 16 * words) - 1).to_bytes(2 * words)

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        value = snapshot.values.get(quantity)
        if value is None:
            return missing, None
        count = round(value * per_unit)
        return layout.pack(count), count / per_unit

    return Register(address, words, quantity, encode)


def counter(address: int, quantity: str, *, wh: int, signed: bool = False) -> Register:
    """A 64-bit energy register that counts whole steps of `wh` Wh (varh)."""
    layout = struct.Struct(_INTEGER[8, signed])

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        steps = snapshot.registers_nj[quantity] // (wh * NJ_PER_WH)
        return layout.pack(steps), steps * wh

    return Register(address, 4, quantity, encode)


def constant(address: int, data: bytes) -> Register:
    """Registers that never change, as of a model number."""
    return Register(address, len(data) // 2, "", lambda _snapshot: (data, None))


class RegisterMap:
    """The registers of one model: `function` reads them, `areas` are the address ranges that exist at all.

    Registers between the listed ones read as `filler`. A request must stay in one area, ask for at most
    `max_registers`, and start and end on a multiple of `granularity`.
    """

    def __init__(
        self,
        *,
        function: int,
        areas: Sequence[range],
        registers: Sequence[Register],
        filler: bytes = b"\x00\x00",
        max_registers: int = 125,
        granularity: int = 1,
    ) -> None:
        self.function = function
        self._areas, self._filler = areas, filler
        self._max_registers, self._granularity = max_registers, granularity
        self._registers = sorted(registers, key=lambda register: register.address)
        self._ends = [register.address + register.words for register in self._registers]
        for end, following in zip(self._ends, self._registers[1:], strict=False):
            if end > following.address:
                raise ValueError(f"registers overlap at {following.address:#x}")
        self._within = lru_cache(maxsize=256)(self._select)

    @property
    def quantities(self) -> frozenset[str]:
        return frozenset(register.quantity for register in self._registers if register.quantity)

    def read(self, address: int, count: int, snapshot: Snapshot) -> tuple[bytes, dict[str, Number]]:
        """`count` registers from `address` on, and the values that lie wholly within them.

        Raises IllegalAddress or IllegalCount.
        """
        out = bytearray(self._filler * count)
        values: dict[str, Number] = {}
        for register in self._within(address, count):
            data, value = register.encode(snapshot)
            offset = register.address - address
            start, stop = max(offset, 0), min(offset + register.words, count)
            out[2 * start : 2 * stop] = data[2 * (start - offset) : 2 * (stop - offset)]
            if value is not None and stop - start == register.words:
                values[register.quantity] = value
        return bytes(out), values

    def _select(self, address: int, count: int) -> list[Register]:
        if count > self._max_registers:
            raise IllegalCount
        if not any(address in area and address + count - 1 in area for area in self._areas):
            raise IllegalAddress
        if address % self._granularity or count % self._granularity:
            raise IllegalAddress
        first = bisect_left(self._ends, address + 1)
        return [register for register in self._registers[first:] if register.address < address + count]
