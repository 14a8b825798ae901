"""Profiles by name and by path."""

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.profiles import catalog

_OWN = """
kind = "modbus"
maker = "Acme"
model = "EM1"
datasheet = "D"
revision = ""
source = "S"
verified = false
function = 4
word_order = "little"
max_registers = 50
max_gap = 0
nominal = { phases = 3, voltage_v = 230, frequency_hz = 50 }
probe = [{ address = 9, type = "u16", one_of = [7] }]
registers = [
  { quantity = "power_w", address = 0, type = "float32" },
  { quantity = "voltage_l1_v", function = 3, word_order = "big", address = 0, type = "float32" },
]
"""


def test_an_operators_own_profile_is_read_from_its_path(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(_OWN)
    profile = catalog.modbus(str(file))
    assert catalog.is_path(str(file))
    assert profile.model == "EM1"
    assert profile.registers[0].key == "4:0x0000"


def test_rows_have_the_function_and_orders_of_their_profile_unless_they_name_their_own() -> None:
    profile = catalog.parse(_OWN, "acme.toml", "modbus")
    power, voltage = profile.registers
    assert (power.function, power.word_order, power.byte_order) == (4, "little", "big")
    assert (voltage.function, voltage.word_order, voltage.byte_order) == (3, "big", "big")
    assert (profile.probe[0].function, profile.probe[0].word_order) == (4, "little")
    assert [(block.function, block.address) for block in profile.blocks()] == [(3, 0), (4, 0)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file or directory; name a readable file"),
        (b"\xff\xfe", "byte 0: not UTF-8; save the file as UTF-8"),
        (b'kind = "mqtt"', "kind: 'mqtt'; it must be 'modbus' here"),
        (_OWN.replace("power_w", "power_kw").encode(), "registers[0] (power_kw): unknown quantity 'power_kw'"),
    ],
)
def test_what_is_wrong_with_an_own_profile_names_its_file(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "acme.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        catalog.modbus(str(file))
    assert str(caught.value).startswith(f"{file}: {complaint}")


def test_brackets_without_end_are_no_profile() -> None:
    with pytest.raises(ConfigError, match=r"^acme\.toml: not TOML"):
        catalog.parse("a = " + "[" * 5000, "acme.toml")
