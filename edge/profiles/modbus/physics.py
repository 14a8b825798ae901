"""What a grid allows: volts near 230 or 120 and hertz near 50 or 60 tell a right map from a wrong one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import get_args

import msgspec

from edge.errors import ModbusFault
from edge.profiles.modbus.plan import Block, plan
from edge.profiles.modbus.probe import Read
from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.schema import ModbusProfile, Nominal
from edge.profiles.modbus.words import Order
from edge.reading import canonical

_VOLTAGES_V = (230.0, 120.0)
_FREQUENCIES_HZ = (50.0, 60.0)
_VOLTAGE_TOLERANCE = 0.15
_FREQUENCY_TOLERANCE = 0.05
_OFFSETS = (0, -1, 1)


class Finding(msgspec.Struct, frozen=True):
    """A way to read the profile's voltages and frequency that makes all of them plausible.

    Registers stand `offset` further than the profile says. `values` are what is read then; `as_profiled` says that
    this is the profile's own way.
    """

    word_order: Order
    byte_order: Order
    offset: int
    as_profiled: bool
    values: dict[str, int | float]

    def __str__(self) -> str:
        """`word_order = "little"`, or that and more: what the profile would have to say."""
        said = [f'word_order = "{self.word_order}"', f'byte_order = "{self.byte_order}"']
        return ", ".join([*said, *([f"addresses {self.offset:+d}"] if self.offset else [])])


def plausible(name: str, value: float, nominal: Nominal | None = None) -> bool | None:
    """Whether `value` is one of a grid; None for other quantities, and for a phase without voltage, which says nothing.

    Beside 230 V and 120 V, 50 Hz and 60 Hz, the meter's own nominal values are right.
    """
    if name.startswith("voltage_"):
        voltages_v = _VOLTAGES_V if nominal is None else (*_VOLTAGES_V, nominal.voltage_v)
        return None if value == 0 else _near(value, voltages_v, _VOLTAGE_TOLERANCE)
    if name == "frequency_hz":
        return _near(value, _FREQUENCIES_HZ, _FREQUENCY_TOLERANCE)
    return None


def implausible(values: Mapping[str, float], nominal: Nominal | None = None) -> tuple[str, ...]:
    """The voltages and the frequency in `values` that no grid has: a reason to `infer` what is wrong with the map."""
    return tuple(name for name, value in values.items() if plausible(name, value, nominal) is False)


async def infer(read: Read, profile: ModbusProfile) -> tuple[Finding, ...]:
    """The ways to read the unit that give a plausible grid, of all word and byte orders and of addresses one off.

    The profile's own way comes first if it is one of them, then those with the least changes. Empty when there is
    none, or nothing to judge by. Ways that read the same values count once.
    """
    rows = [row for row in profile.registers if plausible(row.quantity, 1) is not None and row.scale_factor is None]
    rows = [row for row in rows if row.function >= 3]
    words: dict[tuple[int, int], bytes] = {}
    # Two registers of room: the one before and the one after.
    for block in plan(rows, max_registers=max(profile.max_registers - 2, 4), max_gap=profile.max_gap):
        words |= await _around(read, block)
    findings: list[Finding] = []
    for finding in _ways(profile, rows, words):
        if all(finding.values != other.values for other in findings):
            findings.append(finding)
    return tuple(findings)


async def _around(read: Read, block: Block) -> dict[tuple[int, int], bytes]:
    """Registers of `block` with their neighbours, or without where the unit refuses those; none when it refuses all."""
    start, end = block.address, block.address + block.count
    for first, last in ((max(start - 1, 0), min(end + 1, 0x10000)), (start, end)):
        try:
            data = await read(function=block.function, address=first, count=last - first)
        except ModbusFault as fault:
            if fault.exception_code is None:
                break
            continue
        return {(block.function, first + index): data[2 * index : 2 * index + 2] for index in range(len(data) // 2)}
    return {}


def _ways(
    profile: ModbusProfile, rows: Sequence[Register], words: Mapping[tuple[int, int], bytes]
) -> Iterator[Finding]:
    orders: tuple[Order, ...] = get_args(Order)
    own = (profile.word_order, profile.byte_order)
    ways = [(word, byte, offset) for offset, word, byte in product(_OFFSETS, orders, orders)]
    ways.sort(key=lambda way: (way[0] != own[0]) + (way[1] != own[1]) + (way[2] != 0))
    answered = [row for row in rows if _bytes(row, 0, words) is not None]
    for word_order, byte_order, offset in ways:
        values: dict[str, int | float] = {}
        judged: list[bool | None] = []
        for row in answered:
            data = _bytes(row, offset, words)
            if data is None:
                break
            turned = {
                "word_order": _turned(row.word_order, own[0], word_order),
                "byte_order": _turned(row.byte_order, own[1], byte_order),
            }
            value = row.model_copy(update=turned).value(data)
            possible, impossible = canonical({} if value is None else {row.quantity: value})
            # What no reading can be is none of a grid's either.
            judged += [False for _ in impossible]
            for name, kept in possible.items():
                values[name] = kept
                # What only rounds to 0 V, as 230.0 V does with its words exchanged, is no phase without voltage.
                judged.append(False if kept == 0 and any(data) else plausible(name, kept, profile.nominal))
        else:
            if True in judged and False not in judged:
                yield Finding(word_order, byte_order, offset, (word_order, byte_order, offset) == (*own, 0), values)


def _turned(row: Order, own: Order, tried: Order) -> Order:
    """The order of a row when the profile's is `tried`: a row with an order of its own differs from every profile's."""
    if tried == own:
        return row
    return "little" if row == "big" else "big"


def _bytes(row: Register, offset: int, words: Mapping[tuple[int, int], bytes]) -> bytes | None:
    data = [words.get((row.function, address + offset)) for address in range(row.address, row.end)]
    found = [word for word in data if word is not None]
    return b"".join(found) if len(found) == len(data) else None


def _near(value: float, nominals: Sequence[float], tolerance: float) -> bool:
    return any(abs(value - nominal) <= tolerance * nominal for nominal in nominals)
