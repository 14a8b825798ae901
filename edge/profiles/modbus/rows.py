"""The rows of a profile: what stands in which registers, and what it means."""

import struct
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.quantities import BY_NAME
from edge.profiles.modbus.words import (
    WIDTH,
    FieldType,
    NumberType,
    Order,
    bit_field,
    four_quadrant_power_factor,
    number,
    ordered,
    scaled,
    sign_magnitude,
    text,
)

Function = Literal[1, 2, 3, 4]
Address = Annotated[int, Field(ge=0, le=0xFFFF)]
_LARGEST_FACTOR = 10**12


class Span(BaseModel):
    """Registers from `address`, a PDU address, up to `end`, which is the next one after; bits of functions 1 and 2.

    Function and orders that a row of a file does not name are those of its profile.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: Function = 3
    address: Address
    type: FieldType
    word_order: Order = "big"
    byte_order: Order = "big"

    @property
    def width(self) -> int:
        return WIDTH[self.type]

    @property
    def end(self) -> int:
        return self.address + self.width

    @property
    def key(self) -> str:
        """What is set aside when the meter refuses it: `4:0x0034`. Bit fields of one register have one key."""
        return f"{self.function}:{self.address:#06x}"

    @property
    def place(self) -> str:
        return f"{self.address:#06x}" if self.width == 1 else f"{self.address:#06x} to {self.end - 1:#06x}"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if (self.type == "bool") != (self.function <= 2):
            raise ValueError(
                f"type {self.type} with function {self.function}; functions 1 and 2 read bool, 3 and 4 the other types"
            )
        if self.end > 0x10000:
            raise ValueError(f"{self.type} at {self.address:#06x} ends beyond 0xffff; addresses are as on the wire")
        return self

    def ordered(self, data: bytes) -> bytes:
        """`data` of the wire with the most significant byte first."""
        return data if self.type == "bool" else ordered(data, self.word_order, self.byte_order)


class ScaleFactor(Span):
    """A register with the power of ten for the rows that name it."""

    type: Literal["s16"] = "s16"

    @property
    def name(self) -> str:
        return "scale factor"


class Register(Span):
    """One row of the map: `quantity` is the number at `address` times `scale` over `divisor`, plus `offset`.

    `invalid` lists bit patterns, as unsigned integers with the most significant byte first, by which the meter says
    that it has no value. `bits` is the lowest and the highest bit of a field in an unsigned integer. `scale_factor` is
    the address of a register with a power of ten. `encoding`: of "four-quadrant" see
    `words.four_quadrant_power_factor`; "sign-magnitude" has its sign in the highest bit; "magnitude" drops a sign that
    says leading or lagging.
    """

    quantity: str
    type: NumberType
    scale: Annotated[int, Field(ge=-_LARGEST_FACTOR, le=_LARGEST_FACTOR)] = 1
    divisor: Annotated[int, Field(gt=0, le=_LARGEST_FACTOR)] = 1
    offset: Annotated[int | float, Field(allow_inf_nan=False)] = 0
    encoding: Literal["plain", "four-quadrant", "sign-magnitude", "magnitude"] = "plain"
    invalid: tuple[int, ...] = ()
    bits: tuple[int, int] | None = None
    scale_factor: Address | None = None

    @property
    def name(self) -> str:
        return self.quantity

    @property
    def factor(self) -> ScaleFactor | None:
        """The scale-factor register of this row, read with its function and byte order."""
        if self.scale_factor is None:
            return None
        return ScaleFactor(function=self.function, address=self.scale_factor, byte_order=self.byte_order)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quantity not in BY_NAME:
            raise ValueError(f"unknown quantity {self.quantity!r}; the table is contract/quantities.py")
        if self.scale == 0:
            raise ValueError("scale = 0 makes every value 0; leave the row out instead")
        largest = 1 if self.type == "bool" else (1 << 16 * self.width) - 1
        for pattern in self.invalid:
            if not 0 <= pattern <= largest:
                raise ValueError(f"invalid = {pattern:#x} does not fit {self.type}; patterns are 0 to {largest:#x}")
        unsigned = self.type in ("u16", "u32", "u64")
        if self.bits is not None:
            low, high = self.bits
            if not unsigned or not 0 <= low <= high < 16 * self.width:
                raise ValueError(
                    f"bits = [{low}, {high}] of {self.type}; name the lowest and the highest bit, from 0, "
                    "of u16, u32 or u64"
                )
        if self.encoding == "sign-magnitude" and (not unsigned or self.bits is not None):
            raise ValueError(f"encoding = 'sign-magnitude' of {self.type}; it needs u16, u32 or u64 without bits")
        if self.scale_factor is not None and self.function <= 2:
            raise ValueError("scale_factor with function 1 or 2; only registers have one")
        return self

    def raw(self, data: bytes) -> int | float | None:
        """The number in `data`, the row's bytes of the wire, before it is scaled; None where the meter has none."""
        plain = self.ordered(data)
        if self.invalid and int.from_bytes(plain, "big") in self.invalid:
            return None
        value = number(plain, self.type)
        if self.bits is not None and isinstance(value, int):
            return bit_field(value, *self.bits)
        if self.encoding == "sign-magnitude" and isinstance(value, int):
            return sign_magnitude(value, self.width)
        return value

    def value(self, data: bytes, exponent: int | None = 0) -> int | float | None:
        """The quantity in its unit, or None where the meter says that it has none. NaN and infinity pass.

        `exponent` is what the row's scale-factor register holds, None where that is not known.
        """
        raw = self.raw(data)
        if raw is None or exponent is None:
            return None
        value = scaled(raw, self.scale, self.divisor, exponent)
        if self.encoding == "four-quadrant":
            value = four_quadrant_power_factor(value)
        elif self.encoding == "magnitude":
            value = abs(value)
        return value + self.offset if self.offset else value


class _Field(Span):
    """A number, or with `words` a text of as many registers. It is no quantity."""

    words: Annotated[int, Field(ge=1, le=125)] | None = None

    @property
    def width(self) -> int:
        return self.words or WIDTH.get(self.type, 1)

    @model_validator(mode="after")
    def _words_of_a_string(self) -> Self:
        if self.type == "string" and self.words is None:
            raise ValueError("string without words; say how many registers it takes")
        if self.type != "string" and self.words is not None:
            raise ValueError(f"words = {self.words} with {self.type}; only a string has words")
        return self

    def value(self, data: bytes) -> int | float | str | None:
        """What the registers say: a text without its padding, or a number."""
        if self.type == "string":
            return text(data, self.byte_order)
        return number(self.ordered(data), self.type)


class Identity(_Field):
    """Something by which a person knows the device: its serial number, its firmware."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Probe(_Field):
    """A condition by which a model is recognised: a value `one_of`, or `between` two, or a text with a `prefix`."""

    one_of: tuple[int | str, ...] | None = None
    prefix: Annotated[str, Field(min_length=1)] | None = None
    between: tuple[int | float, int | float] | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [name for name in ("one_of", "prefix", "between") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'no condition'}; give one of one_of, prefix, between")
        if self.one_of is not None and (
            not self.one_of or any(isinstance(item, str) != (self.type == "string") for item in self.one_of)
        ):
            raise ValueError(f"one_of = {list(self.one_of)} for {self.type}; list numbers, or texts for a string")
        if (self.prefix is not None) > (self.type == "string") or (self.between is not None) > (self.type != "string"):
            raise ValueError(f"{given[0]} with {self.type}; prefix is for strings, between for numbers")
        if self.between is not None and not self.between[0] <= self.between[1]:
            raise ValueError(f"between = {list(self.between)}; the lower bound comes first")
        return self

    def holds(self, data: bytes) -> bool:
        """Whether `data`, the bytes of the wire, fulfils the condition."""
        try:
            value = self.value(data)
        except struct.error:
            return False
        if value is None:
            return False
        if self.one_of is not None:
            return value in self.one_of
        if self.prefix is not None:
            return isinstance(value, str) and value.startswith(self.prefix)
        assert self.between is not None
        return not isinstance(value, str) and self.between[0] <= value <= self.between[1]
