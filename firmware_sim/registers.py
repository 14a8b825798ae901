"""Registers from the datasheet's side: a snapshot in, the words on the wire and the value that they carry out.

Written from the meters' documents and the Modbus specification alone, apart from any reader of these registers.

Every constructor takes `word_order` and `byte_order`, "big" unless told. A snapshot may lack a quantity (a single-phase
connection, a meter that does not measure it) or hold NaN (an injected fault): an encoder of one's own must expect both.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from firmware_sim import words as raw
from firmware_sim.load import NJ_PER_WH
from firmware_sim.meter import Snapshot
from firmware_sim.words import Order

Number = int | float
Encoder = Callable[[Snapshot], tuple[bytes, Number | None]]
"""Register bytes, and the value they carry in the quantity's own unit: None where the meter has no such value."""


@dataclass(frozen=True, slots=True)
class Register:
    """Registers from `address` on that hold one value; `quantity` is "" for what only the meter knows."""

    address: int
    words: int
    quantity: str
    encode: Encoder


def float32(
    address: int,
    quantity: str,
    *,
    unit: int = 1,
    per_unit: int = 1,
    missing: float = 0.0,
    word_order: Order = "big",
    byte_order: Order = "big",
) -> Register:
    """IEEE 754 single in `unit` of the quantity: 1000 for kW, and for kWh, whose steps pass 1 Wh above 8192 kWh.

    With `per_unit` it counts parts of the unit, 10 for tenths of a volt. What the meter does not measure reads as
    `missing`, NaN or 0 by the habit of its maker.
    """
    return _float(address, quantity, ">f", unit, per_unit, missing, raw.ordering(word_order, byte_order))


def float64(
    address: int,
    quantity: str,
    *,
    unit: int = 1,
    per_unit: int = 1,
    missing: float = 0.0,
    word_order: Order = "big",
    byte_order: Order = "big",
) -> Register:
    """IEEE 754 double, else as `float32`."""
    return _float(address, quantity, ">d", unit, per_unit, missing, raw.ordering(word_order, byte_order))


def _float(
    address: int,
    quantity: str,
    layout: str,
    unit: int,
    per_unit: int,
    missing: float,
    order: Callable[[bytes], bytes],
) -> Register:
    packed = struct.Struct(layout)

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        value = snapshot.value(quantity)
        if value is None:
            return order(packed.pack(missing)), None if math.isnan(missing) else missing
        data = packed.pack(value * per_unit / unit)
        # A single times 1000 is exact in double precision, and a division rounds once: this is the value on the wire.
        return order(data), packed.unpack(data)[0] * unit / per_unit

    return Register(address, packed.size // 2, quantity, encode)


def float32_kilo_hours(
    address: int, quantity: str, *, word_order: Order = "big", byte_order: Order = "big"
) -> Register:
    """An energy register as a single, kWh or kvarh."""
    return float32(address, quantity, unit=1000, word_order=word_order, byte_order=byte_order)


def integer(
    address: int,
    quantity: str,
    *,
    words: int,
    per_unit: int = 1,
    unit: int = 1,
    signed: bool = False,
    missing: bytes | None = None,
    word_order: Order = "big",
    byte_order: Order = "big",
) -> Register:
    """Whole steps of `unit`/`per_unit`: per_unit=10 for 0.1 V, unit=1000 for kWh; 1, 2 or 4 words.

    What the meter does not have reads as `missing` (most significant byte first), all ones unless told, signed the
    largest positive number. Energies count finished steps and wrap at their width; other values stop at it.
    """
    order = raw.ordering(word_order, byte_order)
    none = raw.all_ones(words=words, signed=signed) if missing is None else missing
    width = 1 << (16 * words - signed)

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        count = _steps(snapshot, quantity, unit, per_unit)
        if count is None:
            return order(none), None
        if quantity in snapshot.registers_nj:
            count %= width
        count = raw.pinned(count, words=words, signed=signed)
        return order(count.to_bytes(2 * words, signed=signed)), _unit(count, unit, per_unit)

    return Register(address, words, quantity, encode)


def counter(
    address: int,
    quantity: str,
    *,
    wh: int,
    words: int = 4,
    signed: bool = False,
    word_order: Order = "big",
    byte_order: Order = "big",
) -> Register:
    """An energy register that counts whole steps of `wh` Wh (varh), 64 bits unless told."""
    return integer(address, quantity, words=words, unit=wh, signed=signed, word_order=word_order, byte_order=byte_order)


def bcd(
    address: int,
    quantity: str,
    *,
    words: int,
    per_unit: int = 1,
    unit: int = 1,
    word_order: Order = "big",
    byte_order: Order = "big",
) -> Register:
    """Packed BCD, four digits a word, of whole steps as in `integer`; no negative numbers. All ones: no such value."""
    order = raw.ordering(word_order, byte_order)

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        count = _steps(snapshot, quantity, unit, per_unit)
        if count is None:
            return b"\xff\xff" * words, None
        top = 10 ** (4 * words)
        count = count % top if quantity in snapshot.registers_nj else min(max(count, 0), top - 1)
        return order(raw.decimal(count, words=words)), _unit(count, unit, per_unit)

    return Register(address, words, quantity, encode)


def bit_field(address: int, quantity: str, *, low: int, high: int, per_unit: int = 1, rest: int = 0) -> Register:
    """A value in bits `low` to `high` (inclusive, 0 the least) of one register; the other bits are those of `rest`."""
    mask = (1 << (high - low + 1)) - 1

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        count = _steps(snapshot, quantity, 1, per_unit)
        field = mask if count is None else min(max(count, 0), mask)
        word = rest & ~(mask << low) | field << low
        return word.to_bytes(2), None if count is None else _unit(field, 1, per_unit)

    return Register(address, 1, quantity, encode)


def scale_factor(address: int, exponent: int) -> Register:
    """A power of ten in a signed register, as SunSpec's sunssf; its values are `integer`s of that step."""
    return constant(address, exponent.to_bytes(2, signed=True))


def constant(address: int, data: bytes) -> Register:
    """Registers that never change, as of a model number; `data` as it stands on the wire."""
    return Register(address, len(data) // 2, "", lambda _snapshot: (data, None))


def text(address: int, words: int, value: str, *, pad: bytes = b"\x00", byte_order: Order = "big") -> Register:
    """A fixed text, two characters a register."""
    return constant(address, raw.ordering("big", byte_order)(raw.text(value, words=words, pad=pad)))


def serial_number(
    address: int,
    words: int,
    *,
    form: Literal["integer", "text", "bcd"] = "integer",
    prefix: str = "",
    pad: bytes = b"\x00",
    word_order: Order = "big",
    byte_order: Order = "big",
) -> Register:
    """The meter's serial number, eight digits and so two words or more; `prefix` stands before it in a text."""
    order = raw.ordering("big" if form == "text" else word_order, byte_order)

    def encode(snapshot: Snapshot) -> tuple[bytes, Number | None]:
        number = snapshot.serial_number
        if form == "text":
            return order(raw.text(f"{prefix}{number}", words=words, pad=pad)), None
        return order(raw.decimal(number, words=words) if form == "bcd" else number.to_bytes(2 * words)), None

    return Register(address, words, "", encode)


def _steps(snapshot: Snapshot, quantity: str, unit: int, per_unit: int) -> int | None:
    """How many whole steps of `unit`/`per_unit`: energies rounded down, as they count, other values to the nearest."""
    counted_nj = snapshot.registers_nj.get(quantity)
    if counted_nj is not None:
        return counted_nj * per_unit // (unit * NJ_PER_WH)
    value = snapshot.values.get(quantity)
    return None if value is None or math.isnan(value) else round(value * per_unit / unit)


def _unit(count: int, unit: int, per_unit: int) -> Number:
    return count * unit if per_unit == 1 else count * unit / per_unit
