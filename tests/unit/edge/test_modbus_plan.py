"""Blocks: as few requests as the limits allow, held against trying all."""

from collections.abc import Sequence
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.rows import Register
from edge.profiles.modbus.schema import ModbusProfile
from tests.unit.edge.register_maps import profile, profiles


@st.composite
def _read(draw: st.DrawFn) -> tuple[ModbusProfile, frozenset[str]]:
    meter: ModbusProfile = draw(profiles())
    keys = sorted({row.key for row in meter.registers})
    return meter, frozenset(draw(st.lists(st.sampled_from(keys), max_size=3)))


def _fewest(meter: ModbusProfile, without: frozenset[str]) -> int:
    """The smallest number of requests, by trying every way to cut the registers that are wanted."""
    total = 0
    for function in (1, 2, 3, 4):
        rows = [row for row in meter.registers if row.function == function]
        places = {row.key: (row.address, row.end) for row in rows}
        for factor in filter(None, (row.factor for row in rows)):
            places[factor.key] = (factor.address, factor.end)
        aside = [place for key, place in places.items() if key in without]
        wanted = sorted(place for key, place in places.items() if key not in without)
        total += _fewest_of(tuple(wanted), tuple(aside), meter.max_registers, meter.max_gap)
    return total


def _fewest_of(wanted: tuple, aside: tuple, max_registers: int, max_gap: int) -> int:
    def readable(group: Sequence[tuple[int, int]]) -> bool:
        start, end = group[0][0], group[-1][1]
        used = {address for place in group for address in range(*place)}
        barred = {address for place in aside for address in range(*place)}
        gap = longest = 0
        for address in range(start, end):
            gap = 0 if address in used else gap + 1
            longest = max(longest, gap)
        return end - start <= max_registers and longest <= max_gap and not barred & set(range(start, end))

    @cache
    def fewest(first: int) -> int:
        if first == len(wanted):
            return 0
        ways = range(first + 1, len(wanted) + 1)
        return 1 + min(fewest(last) for last in ways if readable(wanted[first:last]))

    return fewest(0)


@settings(max_examples=300)
@given(_read())
def test_no_plan_within_the_limits_needs_fewer_requests(read: tuple[ModbusProfile, frozenset[str]]) -> None:
    """E3"""
    meter, without = read
    assert len(meter.blocks(without)) == _fewest(meter, without)


@settings(max_examples=300)
@given(_read())
def test_every_register_is_read_once_within_the_limits_and_none_that_is_set_aside(
    read: tuple[ModbusProfile, frozenset[str]],
) -> None:
    """E2, E3"""
    meter, without = read
    blocks = meter.blocks(without)
    read_rows = [row for block in blocks for row in block.registers if isinstance(row, Register)]
    assert sorted(row.quantity for row in read_rows) == sorted(
        row.quantity for row in meter.registers if row.key not in without
    )
    touched = {(block.function, block.address + offset) for block in blocks for offset in range(block.count)}
    aside = {
        (row.function, address)
        for row in meter.registers
        if row.key in without
        for address in range(row.address, row.end)
    }
    assert not touched & aside
    for block in blocks:
        assert block.count <= meter.max_registers
        assert all(row.function == block.function for row in block.registers)
        assert all(block.address <= row.address and row.end <= block.address + block.count for row in block.registers)


@settings(max_examples=100)
@given(profiles())
def test_halving_ends_at_blocks_that_hold_one_key_and_no_gap(meter: ModbusProfile) -> None:
    """E2"""
    parts: list[Block] = list(meter.blocks())
    while any(len(part.halves()) > 1 for part in parts):
        parts = [half for part in parts for half in part.halves()]
    assert all(len(part.keys) == 1 and part.count == part.registers[0].width for part in parts)
    assert sorted(row.name for part in parts for row in part.registers) == sorted(
        row.name for block in meter.blocks() for row in block.registers
    )


def test_a_register_that_is_set_aside_is_not_read_along_as_a_gap() -> None:
    """E2: it would fail its neighbours again."""
    rows = [Register(quantity=f"voltage_l{n}_v", address=n, type="u16") for n in (1, 2, 3)]
    meter = profile(rows)
    assert [(block.address, block.count) for block in meter.blocks()] == [(1, 3)]
    assert [(block.address, block.count) for block in meter.blocks({"3:0x0002"})] == [(1, 1), (3, 1)]
