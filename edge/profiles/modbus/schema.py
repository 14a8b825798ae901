"""A Modbus meter model: its register map, and how it may be read."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.quantities import BY_NAME
from edge.profiles.modbus.words import (
    WIDTH,
    RegisterType,
    WordOrder,
    decode,
    four_quadrant_power_factor,
    raw_pattern,
)

_ALL_ONES = {1: 0xFFFF, 2: 0xFFFF_FFFF, 4: 0xFFFF_FFFF_FFFF_FFFF}


class Register(BaseModel):
    """One row of the map: `quantity` is `raw * scale / divisor` of the registers from `address`, a PDU address.

    `invalid` lists bit patterns, as unsigned integers, by which the meter says that it has no value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    address: Annotated[int, Field(ge=0, le=0xFFFF)]
    type: RegisterType
    scale: Annotated[int, Field(gt=0)] = 1
    divisor: Annotated[int, Field(gt=0)] = 1
    encoding: Literal["plain", "four-quadrant"] = "plain"
    invalid: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _known_quantity(self) -> Self:
        if self.quantity not in BY_NAME:
            raise ValueError(f"unknown quantity {self.quantity!r}; the table is contract/quantities.py")
        for pattern in self.invalid:
            if not 0 <= pattern <= _ALL_ONES[self.width]:
                raise ValueError(f"invalid = {pattern:#x} does not fit {self.type}")
        return self

    @property
    def width(self) -> int:
        return WIDTH[self.type]

    @property
    def end(self) -> int:
        return self.address + self.width

    def value(self, words: list[int], word_order: WordOrder) -> float | int | None:
        """The quantity in its unit, or None where the meter says that it has none."""
        if raw_pattern(words, word_order) in self.invalid:
            return None
        raw = decode(words, self.type, word_order)
        if self.encoding == "four-quadrant":
            raw = four_quadrant_power_factor(raw)
        # Division is the correctly rounded one: 2305 / 10 is 230.5 where 2305 * 0.1 is not.
        return raw * self.scale if self.divisor == 1 else raw * self.scale / self.divisor


class Block(BaseModel):
    """Registers read by one request: `count` from `address`."""

    model_config = ConfigDict(frozen=True)

    address: int
    count: int
    registers: tuple[Register, ...]

    def __str__(self) -> str:
        return f"registers {self.address:#06x} to {self.address + self.count - 1:#06x}"

    def halves(self) -> tuple["Block", ...]:
        """This block as two smaller ones, or itself when it holds one register row."""
        if len(self.registers) < 2:
            return (self,)
        middle = len(self.registers) // 2
        return (_block(self.registers[:middle]), _block(self.registers[middle:]))


def _block(rows: tuple[Register, ...]) -> Block:
    start = rows[0].address
    return Block(address=start, count=max(row.end for row in rows) - start, registers=rows)


class ModbusProfile(BaseModel):
    """A meter model. `verified` is false while only secondary sources vouch for the map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["modbus"]
    model: str
    datasheet: str
    source: str
    verified: bool
    function: Literal[3, 4]
    word_order: WordOrder = "big"
    max_registers: Annotated[int, Field(ge=4, le=125)]
    max_gap: Annotated[int, Field(ge=0, le=120)]
    registers: tuple[Register, ...]

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        if not self.registers:
            raise ValueError("registers is empty; name one row at least")
        names = [row.quantity for row in self.registers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"quantities mapped twice: {', '.join(twice)}")
        ordered = sorted(self.registers, key=lambda row: row.address)
        for before, after in pairwise(ordered):
            if after.address < before.end:
                raise ValueError(f"{after.quantity} at {after.address:#06x} overlaps {before.quantity}")
        return self

    def blocks(self) -> tuple[Block, ...]:
        """The fewest requests, ascending, that honour `max_registers` and skip no more than `max_gap` registers."""
        blocks: list[Block] = []
        rows: tuple[Register, ...] = ()
        for row in sorted(self.registers, key=lambda row: row.address):
            if rows and (row.address - rows[-1].end > self.max_gap or row.end - rows[0].address > self.max_registers):
                blocks.append(_block(rows))
                rows = ()
            rows = (*rows, row)
        return (*blocks, _block(rows))

    def values(self, words: Mapping[int, int], rows: tuple[Register, ...]) -> dict[str, float]:
        """Quantities of `rows` from `words`, which maps addresses to registers; a row lacking a register is absent."""
        values: dict[str, float] = {}
        for row in rows:
            if all(address in words for address in range(row.address, row.end)):
                value = row.value([words[address] for address in range(row.address, row.end)], self.word_order)
                if value is not None:
                    values[row.quantity] = value
        return values
