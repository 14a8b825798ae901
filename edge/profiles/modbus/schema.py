"""A Modbus meter model: its register map, how it may be read, and how it is recognised."""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge.profiles.modbus.decode import Decoder
from edge.profiles.modbus.plan import Block, Row, plan
from edge.profiles.modbus.rows import Function, Identity, Probe, Register, Span
from edge.profiles.modbus.words import Order

_INHERITED = {"function": get_args(Function), "word_order": get_args(Order), "byte_order": get_args(Order)}
_ROWS = ("registers", "probe", "identity")

Text = Annotated[str, Field(min_length=1)]


class Nominal(BaseModel):
    """What the meter is made for. `current_max_a` is absent where transformers decide it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phases: Literal[1, 2, 3]
    voltage_v: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
    frequency_hz: Annotated[float, Field(ge=15, le=70, allow_inf_nan=False)]
    current_max_a: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None


class ModbusProfile(BaseModel):
    """A meter model. `verified` is false while only secondary sources vouch for the map; `revision`, the datasheet's,
    is empty where the source names none.

    A file has `nominal`; of a meter that says itself what it is, it is None.
    `function`, `word_order` and `byte_order` hold for every row that does not name its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["modbus"]
    maker: Text
    model: Text
    datasheet: Text
    revision: str
    source: Text
    verified: bool
    function: Function
    word_order: Order = "big"
    byte_order: Order = "big"
    max_registers: Annotated[int, Field(ge=4, le=125)]
    max_gap: Annotated[int, Field(ge=0, le=120)]
    silence_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    nominal: Nominal | None
    baud_rates: tuple[Annotated[int, Field(ge=300, le=1_000_000)], ...] = ()
    probe: tuple[Probe, ...] = ()
    identity: tuple[Identity, ...] = ()
    registers: tuple[Register, ...]

    @classmethod
    def from_toml(cls, data: Mapping[str, object]) -> Self:
        """The profile in a parsed file. Raises pydantic's ValidationError."""
        # A default that is none is reported where it stands, not once more in each row.
        defaults = {name: data[name] for name, known in _INHERITED.items() if data.get(name) in known}
        rows = {
            name: [defaults | row if isinstance(row, dict) else row for row in found]
            for name in _ROWS
            if isinstance(found := data.get(name), list)
        }
        # As JSON, whose lists may be tuples even where nothing else is converted: "12" is no address, 1 no truth.
        return cls.model_validate_json(json.dumps({**data, **rows}, default=str), strict=True)

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if not self.registers:
            raise ValueError("registers is empty; name one row at least")
        for kind, names in (
            ("quantities", [row.quantity for row in self.registers]),
            ("identities", [row.name for row in self.identity]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} mapped twice: {', '.join(twice)}; keep one row of each")
        return self

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for kind, rows in (("probe", self.probe), ("identity", self.identity)):
            if widest := max((row.width for row in rows if row.width > self.max_registers), default=0):
                raise ValueError(f"{kind} of {widest} registers; max_registers allows {self.max_registers}")
        return self

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        ordered = sorted(self._rows(), key=lambda row: (row.function, row.address, row.end))
        for before, after in pairwise(ordered):
            if before.function == after.function and after.address < before.end and not _share(before, after):
                raise ValueError(
                    f"{after.name} at {after.place} overlaps {before.name} at {before.place}; "
                    "only bit fields of one register may"
                )
        fields = [row for row in self.registers if row.bits is not None]
        for one, other in combinations(fields, 2):
            if one.key == other.key and _bits(one) & _bits(other):
                raise ValueError(
                    f"{other.quantity} and {one.quantity} share bits at {one.place}; a bit means one thing"
                )
        return self

    def _rows(self) -> list[Row]:
        """All that is read for a reading: the registers, and once each the scale factors."""
        factors = {factor.key: factor for row in self.registers if (factor := row.factor) is not None}
        return [*self.registers, *factors.values()]

    def blocks(self, without: Collection[str] = frozenset()) -> tuple[Block, ...]:
        """The fewest requests that honour `max_registers` and `max_gap`, by function, ascending.

        Rows whose key is in `without` are set aside: neither read nor read along.
        """
        return plan(self._rows(), max_registers=self.max_registers, max_gap=self.max_gap, without=without)

    def decoder(self, blocks: Sequence[Block]) -> Decoder:
        """What turns the replies to `blocks` into values; compile it once for each tuple of blocks."""
        return Decoder(blocks)


def _share(before: Row, after: Row) -> bool:
    """Whether two rows that overlap are bit fields of the very same registers."""
    return all(isinstance(row, Register) and row.bits is not None for row in (before, after)) and _layout(
        before
    ) == _layout(after)


def _layout(row: Span) -> tuple[object, ...]:
    return (row.address, row.type, row.word_order, row.byte_order)


def _bits(row: Register) -> set[int]:
    low, high = row.bits or (0, -1)
    return set(range(low, high + 1))
