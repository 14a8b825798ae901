"""The tables of a model: which functions read which addresses, how much at once, and what may be written."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Union

from firmware_sim.meter import Snapshot
from firmware_sim.registers import Number, Register

Words = Mapping[int, bytes]
"""Two bytes for each address that was written, laid over what the meter has there."""


class IllegalAddress(Exception):
    """The request names registers that the meter does not have (Modbus exception 02)."""


class IllegalCount(Exception):
    """The request asks for more registers at once than the meter gives (Modbus exception 03)."""


class RegisterMap:
    """Registers of one model that `functions` read: (3,), (4,), or (3, 4) where the meter does not tell them apart.

    `areas` are the address ranges that exist at all. Registers between the listed ones read as `filler`. A request
    must stay in one area, ask for at most `max_registers`, and start and end on a multiple of `granularity`; where an
    area has a step of its own, on that step from its start (Siemens counts pairs from 1).
    `alone` are registers that read so only when exactly they are asked for, in a longer request as the others are
    (Carlo Gavazzi's identification code).
    Function 6 and 16 are taken for the addresses in `writable` (of a table that function 3 reads), and read back.
    `others` are the same meter's further tables, by other functions; the registry takes the one that holds them.
    """

    def __init__(
        self,
        *,
        function: int | None = None,
        functions: Sequence[int] = (),
        areas: Sequence[range],
        registers: Sequence[Register],
        filler: bytes = b"\x00\x00",
        max_registers: int = 125,
        granularity: int = 1,
        writable: Sequence[range] = (),
        alone: Sequence[Register] = (),
        others: Sequence[Union["RegisterMap", "BitMap"]] = (),
    ) -> None:
        if (function is None) == (not functions):
            raise ValueError("say either function or functions")
        self.functions = tuple(functions) if function is None else (function,)
        if not set(self.functions) <= {3, 4}:
            raise ValueError(f"functions are {self.functions}; registers are read by 3 and 4")
        if writable and 3 not in self.functions:
            raise ValueError("only registers that function 3 reads are written")
        self.writable = writable
        self._areas, self._filler = areas, filler
        self._max_registers, self._granularity = max_registers, granularity
        self._alone = {(register.address, register.words): register for register in alone}
        self._registers = sorted(registers, key=lambda register: register.address)
        self._ends = [register.address + register.words for register in self._registers]
        for end, following in zip(self._ends, self._registers[1:], strict=False):
            if end > following.address:
                raise ValueError(f"registers overlap at {following.address:#x}")
        for register in self._registers:
            if not any(area.start <= register.address <= area.stop - register.words for area in areas):
                raise ValueError(f"the register at {register.address:#x} stands in no area")
        self._within = lru_cache(maxsize=256)(self._select)
        tables = [self, *(table for other in others for table in other.by_function.values())]
        self.by_function: dict[int, RegisterMap | BitMap] = {}
        for table in dict.fromkeys(tables):
            for number in table.functions:
                if number in self.by_function:
                    raise ValueError(f"function {number} reads two tables")
                self.by_function[number] = table

    @property
    def function(self) -> int:
        """The first function that reads this table."""
        return self.functions[0]

    @property
    def quantities(self) -> frozenset[str]:
        """Of this table and the others."""
        tables = {table for table in self.by_function.values() if isinstance(table, RegisterMap)}
        return frozenset(register.quantity for table in tables for register in table._registers if register.quantity)

    def addresses(self, quantity: str) -> range:
        """Where this table has `quantity`; empty where it has not."""
        for register in self._registers:
            if register.quantity == quantity:
                return range(register.address, register.address + register.words)
        return range(0)

    def read(
        self, address: int, count: int, snapshot: Snapshot, written: Words | None = None
    ) -> tuple[bytes, dict[str, Number]]:
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
            # NaN is on the wire and no value: only it differs from itself.
            if value is not None and value == value and stop - start == register.words:
                values[register.quantity] = value
        for at, word in (written or {}).items():
            if address <= at < address + count:
                out[2 * (at - address) : 2 * (at - address) + 2] = word
        return bytes(out), values

    def _select(self, address: int, count: int) -> list[Register]:
        if count > self._max_registers:
            raise IllegalCount
        if (address, count) in self._alone:
            return [self._alone[address, count]]
        if not any(_covers(area, address, count) for area in self._areas):
            raise IllegalAddress
        if address % self._granularity or count % self._granularity:
            raise IllegalAddress
        first = bisect_left(self._ends, address + 1)
        return [register for register in self._registers[first:] if register.address < address + count]


def _covers(area: range, address: int, count: int) -> bool:
    return address in area and address + count <= area.stop and count % area.step == 0


class BitMap:
    """Coils (1) or discrete inputs (2) of one model: each address with what it reads as, all others in `areas` 0.

    Function 5 and 15 are taken for the addresses in `writable` of a table that function 1 reads.
    """

    def __init__(
        self,
        *,
        functions: Sequence[int],
        areas: Sequence[range],
        bits: Mapping[int, Callable[[Snapshot], bool]],
        writable: Sequence[range] = (),
    ) -> None:
        if not functions or not set(functions) <= {1, 2}:
            raise ValueError(f"functions are {functions}; bits are read by 1 and 2")
        if writable and 1 not in functions:
            raise ValueError("only bits that function 1 reads are written")
        self.functions, self.writable = tuple(functions), writable
        self._areas, self._bits = areas, bits
        self.by_function: dict[int, RegisterMap | BitMap] = dict.fromkeys(self.functions, self)

    def read(
        self, address: int, count: int, snapshot: Snapshot, written: Words | None = None
    ) -> tuple[bytes, dict[str, Number]]:
        """`count` bits from `address` on, the first the least of the first byte. Raises IllegalAddress."""
        if not any(_covers(area, address, count) for area in self._areas):
            raise IllegalAddress
        packed = 0
        for at in range(count):
            known = (written or {}).get(address + at)
            reads = self._bits.get(address + at)
            if known != b"\x00\x00" if known is not None else reads is not None and reads(snapshot):
                packed |= 1 << at
        return packed.to_bytes((count + 7) // 8, "little"), {}
