from collections.abc import Callable, Collection

from edge.drivers.modbus.layout import Layout
from edge.profiles import catalog
from edge.profiles.modbus.plan import Block

PROFILE = catalog.modbus("eastron-sdm630")
WHOLE = PROFILE.blocks()
ALL = frozenset(key for block in WHOLE for key in block.keys)


def _read(layout: Layout, missing: Collection[int]) -> bool:
    """One reading of a meter that refuses what touches a `missing` register."""
    refused = [block for block in layout.blocks if _touches(block, missing)]
    return layout.learn([block for block in layout.blocks if block not in refused], refused)


def _touches(block: Block, missing: Collection[int]) -> bool:
    return any(block.address <= address < block.address + block.count for address in missing)


def _keys(layout: Layout) -> frozenset[str]:
    return frozenset(key for block in layout.blocks for key in block.keys)


def test_a_register_that_is_refused_again_and_again_is_set_aside_and_the_rest_is_read_in_few_blocks() -> None:
    """E2, E3"""
    layout = Layout(profile=PROFILE)
    news = [_read(layout, {0x0008}) for _ in range(12)]
    assert sum(news) == 1
    assert layout.aside == {"4:0x0008"}
    assert _keys(layout) == ALL - {"4:0x0008"}
    assert layout.blocks == PROFILE.blocks({"4:0x0008"})


def test_a_register_that_is_refused_now_and_then_is_not_set_aside() -> None:
    layout = Layout(profile=PROFILE)
    for _ in range(20):
        _read(layout, {0x0008})
        for _ in range(3):
            _read(layout, ())
    assert not layout.aside
    assert layout.blocks == WHOLE


def test_a_meter_that_refuses_everything_while_it_starts_loses_nothing() -> None:
    """E2"""
    layout = Layout(profile=PROFILE)
    for _ in range(50):
        assert not _read(layout, range(0x10000))
    for _ in range(3):
        _read(layout, ())
    assert not layout.aside
    assert layout.blocks == WHOLE


def test_a_gap_that_may_not_be_read_costs_no_register() -> None:
    """E2, E3: whole blocks are refused for what is between the rows, again and again; the parts stay."""
    gap = next(
        address
        for block in WHOLE
        for address in range(block.address, block.address + block.count)
        if not any(row.address <= address < row.end for row in block.registers)
    )
    layout = Layout(profile=PROFILE)
    for _ in range(12):
        _read(layout, {gap})
    settled = layout.blocks
    for _ in range(12):
        _read(layout, {gap})
        assert layout.blocks == settled
    assert not layout.aside
    assert _keys(layout) == ALL
    assert not any(_touches(block, {gap}) for block in settled)


def test_what_was_set_aside_is_asked_for_alone_and_comes_back() -> None:
    layout = Layout(profile=PROFILE, aside={"4:0x0008", "4:0x0034", "4:0x9999"})
    assert layout.aside == {"4:0x0008", "4:0x0034"}
    assert sorted(key for block in layout.probes for key in block.keys) == ["4:0x0008", "4:0x0034"]
    layout.answered_again({"4:0x0034"})
    assert _keys(layout) == ALL - {"4:0x0008"}


def test_refusals_count_only_in_a_row_though_another_register_never_answers() -> None:
    """E2: what is busy for ever must not make three refusals of a week look like one trouble."""
    layout = Layout(profile=PROFILE)
    for _ in range(2):
        _read(layout, {0x0008})
    while not any(block.keys == ("4:0x0008",) for block in layout.blocks):
        _read(layout, {0x0008})
    for _ in range(6):
        _read(layout, {0x0008})
        if layout.aside:
            break
        layout.learn(layout.blocks[:-1], [])
        _read(layout, {0x0008})
        layout.learn(layout.blocks[:-1], [])
    assert not layout.aside


def test_a_meter_of_which_everything_is_said_to_be_set_aside_is_asked_for_everything() -> None:
    """E11: with nothing to ask for it would be silent until somebody deletes the file."""
    assert Layout(profile=PROFILE, aside=ALL).blocks == WHOLE


def _wait(layout: Layout, silent: Callable[[Block], bool]) -> list[Block]:
    """One reading that ends at the first block on which the meter is `silent`; the blocks that answered."""
    answered: list[Block] = []
    refused: list[Block] = []
    for block in (layout.blocks[place] for place in layout.order):
        if silent(block):
            if layout.waited_for(block, others_answer=bool(answered)):
                refused.append(block)
            break
        answered.append(block)
    layout.learn(answered, refused)
    return answered


def test_a_register_that_the_meter_is_silent_on_is_set_aside_in_a_few_readings() -> None:
    """E2: each of which has one time-out at most, and all that answers."""
    layout = Layout(profile=PROFILE)
    lengths = [len(_wait(layout, lambda block: _touches(block, {0x0008}))) for _ in range(12)]
    assert layout.aside == {"4:0x0008"}
    assert _keys(layout) == ALL - {"4:0x0008"}
    assert all(lengths[1:])
    assert layout.settled


def test_many_registers_that_the_meter_is_silent_on_are_all_set_aside() -> None:
    """E2"""
    layout = Layout(profile=PROFILE)
    missing = {0x0006, 0x0008, 0x000C}
    for _ in range(40):
        _wait(layout, lambda block: _touches(block, missing))
    assert layout.aside == {f"4:{address:#06x}" for address in missing}
    assert layout.settled


def test_a_meter_that_is_silent_on_long_requests_is_read_in_short_ones() -> None:
    """E2, E3: nothing is set aside, and the whole is not tried at every reading."""
    layout = Layout(profile=PROFILE)
    answered = [_wait(layout, lambda block: block.count > 20) for _ in range(30)]
    assert not layout.aside
    assert all(tuple(blocks) == layout.blocks for blocks in answered[-20:])
    assert max(block.count for block in layout.blocks) <= 20
    assert _keys(layout) == ALL


def test_a_reply_that_is_lost_now_and_then_changes_nothing() -> None:
    """E2, E3"""
    layout = Layout(profile=PROFILE)
    for number in range(60):
        _wait(layout, lambda block, number=number: number % 3 != 0 and block == WHOLE[0])
        assert layout.blocks == WHOLE


def test_a_meter_that_is_silent_altogether_is_asked_for_whole_blocks_for_ever() -> None:
    """E11"""
    layout = Layout(profile=PROFILE)
    for _ in range(50):
        _wait(layout, lambda block: True)
    assert layout.blocks == WHOLE
    assert len(_wait(layout, lambda block: False)) == len(WHOLE)
    assert layout.settled
    assert layout.order == tuple(range(len(WHOLE)))
