"""Each folder of cases/profiles with registers or a profile: values or one line of error out."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.profiles import catalog

CASES = Path(__file__).parents[2] / "cases" / "profiles"


def _cases(file: str, other: str) -> list[Path]:
    found = sorted(path.parent for path in CASES.glob(f"*/{file}") if (path.parent / other).exists())
    assert found, f"no case with {file} and {other}"
    return found


@pytest.mark.parametrize("case", _cases("registers.json", "expected.json"), ids=lambda case: case.name)
def test_registers_become_the_expected_values(case: Path) -> None:
    """E5, E6, E8: values by address, absent when not there or not available, at the contract's resolution."""
    given = json.loads((case / "registers.json").read_text())
    words = {int(address, 16): bytes.fromhex(word) for address, word in given["registers"].items()}
    profile = catalog.modbus(given["profile"])
    there = {row.key for row in profile.registers if words.keys() >= set(range(row.address, row.end))}
    blocks = profile.blocks(without={row.key for row in profile.registers} - there)

    # What lies in the gaps means nothing, and looks like something.
    decoded = profile.decoder(blocks)(
        [b"".join(words.get(block.address + n, b"\x43\x66") for n in range(block.count)) for block in blocks]
    )

    assert decoded.values == json.loads((case / "expected.json").read_text())
    assert not decoded.impossible


@pytest.mark.parametrize("case", _cases("profile.toml", "error.txt"), ids=lambda case: case.name)
def test_profiles_that_break_the_schema_say_where(case: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.parse((case / "profile.toml").read_text(), "profile.toml")
    assert str(caught.value) == (case / "error.txt").read_text().strip()


@pytest.mark.parametrize("name", [*catalog.names("modbus"), *catalog.names("mqtt")])
def test_every_shipped_profile_loads_and_names_its_sources(name: str) -> None:
    profile = catalog.modbus(name) if name in catalog.names("modbus") else catalog.mqtt(name)
    assert profile.datasheet
    assert profile.source


@pytest.mark.parametrize("name", catalog.names("modbus"))
def test_blocks_cover_every_register_once_within_the_limits(name: str) -> None:
    """E3"""
    profile = catalog.modbus(name)

    blocks = profile.blocks()

    assert sorted(row.address for block in blocks for row in block.registers) == sorted(
        row.address for row in profile.registers
    )
    assert all(block.count <= profile.max_registers for block in blocks)
    for before, after in pairwise(blocks):
        apart = before.function != after.function or after.address - before.address - before.count > profile.max_gap
        assert apart or after.address + after.registers[0].width - before.address > profile.max_registers
    for block in blocks:
        assert all(block.address <= row.address and row.end <= block.address + block.count for row in block.registers)


def test_halving_a_block_keeps_its_registers_and_ends_at_single_rows() -> None:
    """E2"""
    whole = catalog.modbus("eastron-sdm630").blocks()[0]
    parts = [whole]
    while any(len(part.registers) > 1 for part in parts):
        parts = [half for part in parts for half in part.halves()]
    assert [part.registers[0] for part in parts] == list(whole.registers)
    assert all(part.count == part.registers[0].width for part in parts)
