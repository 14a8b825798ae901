"""What a fault is told: its kind, when, and the parameters of the kind."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from firmware_sim.course import REGISTERS
from firmware_sim.faults.kinds import KINDS
from firmware_sim.meter import QUANTITIES

_Seconds = Annotated[float, Field(ge=1e-6, le=10**9)]
_PARAMETERS = (
    *("delay_s", "unit", "offset", "bytes", "code", "address", "count", "quantity", "wh", "offset_s"),
    *("phase", "percent", "hz", "factor", "w", "value"),
)
# These may come again without an end in between.
_ONCE = ("zero", "backwards")


class FaultSpec(BaseModel):
    """The fault begins `start_s` after the simulator (or after it is injected), or at the instant `at`.

    It lasts `for_s`, or for ever; with `every_s` it comes again so long after each beginning. Of the requests
    (messages) in that time it hits the first `times`, or a `share` of them, the same ones in every run of a seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    start_s: Annotated[float, Field(ge=0, le=10**9)] = 0
    at: datetime | None = None
    every_s: _Seconds | None = None
    for_s: _Seconds | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None

    how: str | None = None
    delay_s: _Seconds | None = None
    unit: Annotated[int, Field(ge=0, le=255)] | None = None
    offset: int | None = None
    bytes: Annotated[int, Field(ge=0, le=512)] | None = None
    code: Annotated[int, Field(ge=1, le=127)] | None = None
    address: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    count: Annotated[int, Field(ge=1, le=0x10000)] | None = None
    quantity: str | None = None
    wh: Annotated[int, Field(ge=0, le=10**15)] | None = None
    offset_s: float | None = None
    phase: Annotated[int, Field(ge=1, le=3)] | None = None
    percent: Annotated[float, Field(ge=0, le=200)] | None = None
    hz: Annotated[float, Field(ge=15, le=70)] | None = None
    factor: Annotated[float, Field(ge=0.001, le=1000)] | None = None
    w: Annotated[int, Field(ge=1, le=10**7)] | None = None
    value: Annotated[float, Field(ge=0.01, le=1)] | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"there is no {kind!r}: use one of {', '.join(KINDS)}")
        return kind

    @field_validator("quantity")
    @classmethod
    def _measured(cls, quantity: str | None) -> str | None:
        if quantity is not None and quantity not in QUANTITIES:
            raise ValueError(f"there is no {quantity!r}: use one of {', '.join(QUANTITIES)}")
        return quantity

    @model_validator(mode="after")
    def _fits(self) -> "FaultSpec":
        kind = KINDS[self.kind]
        for name in _PARAMETERS:
            if getattr(self, name) is not None and name not in kind.takes:
                raise ValueError(f"{self.kind} takes no {name}: it takes {', '.join(kind.takes) or 'none of its own'}")
        if self.how is not None and self.how not in kind.how:
            raise ValueError(f"{self.kind} knows no how = {self.how!r}: use {' or '.join(kind.how) or 'none'}")
        if self.at is not None and (self.start_s or self.at.tzinfo is None):
            raise ValueError("at is an instant with its zone and instead of start_s: give one of them")
        if self.every_s is not None and self.for_s is None and self.times is None and self.kind not in _ONCE:
            raise ValueError("every_s alone would be for ever: say for_s or times as well")
        if self.every_s is not None and self.for_s is not None and self.for_s >= self.every_s:
            raise ValueError("for_s is not shorter than every_s: the fault would never end")
        if self.kind == "illegal-address" and (self.address is None) == (self.quantity is None):
            raise ValueError("illegal-address needs to know where: give either address or quantity")
        if self.kind == "wrong-transaction" and self.offset is not None and self.offset % 0x10000 == 0:
            raise ValueError(f"offset = {self.offset} is the right transaction: use another one")
        if kind.scope in ("endpoint", "grid") and (self.times or self.share):
            raise ValueError(f"{self.kind} acts on the {kind.scope} and not on requests: leave times and share out")
        if self.kind == "overload" and self.factor is not None and self.w is not None:
            raise ValueError("an overload is so many times the load or so many watts: give either factor or w")
        if self.kind == "backwards" and self.for_s is not None:
            raise ValueError("backwards happens in an instant and stays: leave for_s out")
        if self.kind == "backwards" and (self.quantity or REGISTERS[0]) not in REGISTERS:
            raise ValueError(f"{self.quantity} is no energy register: use one of {', '.join(REGISTERS)}")
        return self

    @property
    def limit(self) -> int | None:
        """How many requests it hits each time that it comes; None for all."""
        return 1 if self.kind == "zero" and self.times is None and self.for_s is None else self.times

    @property
    def variant(self) -> str:
        return self.how or KINDS[self.kind].how[0]
